//go:build !unix

package features

import (
	"io"
	"os"
)

// mapFile reads the whole file: there is no mapping here.
func mapFile(f *os.File, size int, _ bool) ([]byte, func() error, error) {
	data := make([]byte, size)
	_, err := io.ReadFull(io.NewSectionReader(f, 0, int64(size)), data)
	return data, func() error { return nil }, err
}

func flush(f *os.File, data []byte) error {
	_, err := f.WriteAt(data, 0)
	return err
}
