package features

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"
)

// Matrix is a float32 matrix [N,D] in an .npy file that is mapped into memory: rows are read from the page cache and cost no
// copy. It is safe for concurrent reading.
type Matrix struct {
	N, D int

	path, tmp string
	f         *os.File // nil but from Create to Commit
	data      []byte
	release   func() error
}

// headerSize is what stands before the elements: the header of .npy version 1, padded.
const headerSize = 128

func header(n, d int) []byte { return npyHeader("<f4", fmt.Sprintf("%d, %d", n, d)) }

// npyHeader is the header of .npy version 1 in C order.
func npyHeader(kind, shape string) []byte {
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", kind, shape)
	fixed := headerSize - 10
	text += strings.Repeat(" ", fixed-1-len(text)) + "\n"
	return append([]byte("\x93NUMPY\x01\x00\x76\x00"), text...)
}

// Create makes a matrix that appears at path when Commit is called.
func Create(path string, n, d int) (*Matrix, error) {
	if n < 1 || d < 1 {
		return nil, fmt.Errorf("%s: a matrix of %d×%d: want at least one row and column", path, n, d)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-"+filepath.Base(path)+"-*")
	if err != nil {
		return nil, err
	}
	m := &Matrix{N: n, D: d, path: path, tmp: f.Name(), f: f}
	size := headerSize + 4*int64(n)*int64(d)
	err = reserve(f, size)
	if err == nil {
		_, err = f.WriteAt(header(n, d), 0)
	}
	if err == nil {
		m.data, m.release, err = mapFile(f, int(size), true)
	}
	if err != nil {
		f.Close()
		os.Remove(m.tmp)
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Open maps a matrix that must be [n,d].
func Open(path string, n, d int) (*Matrix, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := &Matrix{N: n, D: d, path: path}
	size := headerSize + 4*int64(n)*int64(d)
	info, err := f.Stat()
	if err == nil && info.Size() != size {
		err = fmt.Errorf("%d bytes, %d×%d float32 have %d: remove it", info.Size(), n, d, size)
	}
	if err == nil {
		m.data, m.release, err = mapFile(f, int(size), false)
	}
	if err == nil && !bytes.Equal(m.data[:headerSize], header(n, d)) {
		err = errors.Join(errors.New("its header is not that of the matrix: remove it"), m.release())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Values are the elements, row after row. After Create they may be written until Commit.
func (m *Matrix) Values() []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(&m.data[headerSize])), m.N*m.D)
}

// Row is row i.
func (m *Matrix) Row(i int) []float32 { return m.Values()[i*m.D:][:m.D] }

// Commit makes a created matrix durable and gives it its name. It may be called once.
func (m *Matrix) Commit() error {
	err := errors.Join(flush(m.f, m.data), m.f.Sync(), m.f.Close()) // Windows renames no open file
	m.f = nil
	if err != nil {
		return fmt.Errorf("%s: %w", m.path, err)
	}
	if err := os.Rename(m.tmp, m.path); err != nil {
		return err
	}
	m.tmp = ""
	return nil
}

// Close unmaps the file; a matrix that was not committed disappears.
func (m *Matrix) Close() error {
	err := m.release()
	if m.f != nil {
		err = errors.Join(err, m.f.Close())
	}
	if m.tmp != "" {
		err = errors.Join(err, os.Remove(m.tmp))
	}
	return err
}
