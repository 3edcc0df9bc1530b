package features

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// reserve gives a file its size and its room on the disk: a mapped write to a full disk would be a fault, not an error.
func reserve(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return f.Truncate(size)
	}
	return err
}
