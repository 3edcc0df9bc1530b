//go:build unix

package flows

import "golang.org/x/sys/unix"

// access says whether files can be made in a folder.
func access(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }
