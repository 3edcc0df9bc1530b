//go:build !linux

package checkpoint

import "os"

// Create is os.Create.
func (Disk) Create(name string) (WriteFile, error) { return os.Create(name) }
