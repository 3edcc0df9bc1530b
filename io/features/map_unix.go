//go:build unix

package features

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps a file; writing shares it with the file.
func mapFile(f *os.File, size int, write bool) ([]byte, func() error, error) {
	prot := unix.PROT_READ
	if write {
		prot |= unix.PROT_WRITE
	}
	data, err := unix.Mmap(int(f.Fd()), 0, size, prot, unix.MAP_SHARED)
	return data, func() error { return unix.Munmap(data) }, err
}

func flush(_ *os.File, data []byte) error { return unix.Msync(data, unix.MS_SYNC) }
