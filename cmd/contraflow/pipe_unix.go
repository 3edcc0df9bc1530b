//go:build unix

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// unread says whether a file is a pipe without a reader.
func unread(f *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&unix.POLLERR != 0
}
