package safetensors

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/contraflow/contraflow/io/raw"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum is the CRC-32C of data, the checksum this package writes.
func Sum(data []byte) uint32 { return crc32.Checksum(data, castagnoli) }

// File is an open safetensors file. Its methods may be called concurrently.
type File struct {
	Entries  []Entry           // in file order
	Metadata map[string]string // the header's free-form strings, checksums included

	r     io.ReaderAt
	data  int64 // where the data section starts
	byKey map[string]int
	close func() error
}

// Open opens a file and checks its header. Close it when the tensors have been read.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	s, err := NewFile(f, info.Size())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.close = f.Close
	return s, nil
}

// NewFile reads the header of the size bytes of r, which must stay readable while the File is used.
func NewFile(r io.ReaderAt, size int64) (*File, error) {
	var prefix [8]byte
	if size < int64(len(prefix)) {
		return nil, fmt.Errorf("not a safetensors file: %d bytes is shorter than its header length", size)
	}
	if err := readAt(r, prefix[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > maxHeader || int64(n) > size-8 {
		return nil, fmt.Errorf("not a safetensors file, or a truncated one: a header of %d bytes in a file of %d", n, size)
	}
	text := make([]byte, n)
	if err := readAt(r, text, 8); err != nil {
		return nil, err
	}
	f := &File{r: r, data: 8 + int64(n), close: func() error { return nil }}
	var err error
	if f.Entries, f.Metadata, err = parseHeader(text, size-f.data); err != nil {
		return nil, err
	}
	f.byKey = make(map[string]int, len(f.Entries))
	for i := range f.Entries {
		f.byKey[f.Entries[i].Name] = i
	}
	return f, nil
}

// Close closes the file that Open opened.
func (f *File) Close() error { return f.close() }

// Lookup finds the entry of a tensor, or nil.
func (f *File) Lookup(name string) *Entry {
	if i, ok := f.byKey[name]; ok {
		return &f.Entries[i]
	}
	return nil
}

// Read reads one tensor and verifies its checksum, if the file has one: a mismatch is a [*ChecksumError].
func (f *File) Read(name string) (raw.Tensor, error) {
	e := f.Lookup(name)
	if e == nil {
		return raw.Tensor{}, fmt.Errorf("no tensor %q among %d", name, len(f.Entries))
	}
	t := raw.Tensor{Name: name, DType: e.DType, Shape: e.Shape, Data: make([]byte, e.Bytes())}
	if err := readAt(f.r, t.Data, f.data+e.begin); err != nil {
		return raw.Tensor{}, fmt.Errorf("tensor %q: %w", name, err)
	}
	if e.Sum != nil {
		if got := Sum(t.Data); got != *e.Sum {
			return raw.Tensor{}, &ChecksumError{Tensor: name, Want: *e.Sum, Got: got}
		}
	}
	return t, nil
}

// ChecksumError says that the bytes of a tensor are not the ones that were written.
type ChecksumError struct {
	Tensor    string
	Want, Got uint32
}

func (e *ChecksumError) Error() string {
	return fmt.Sprintf("tensor %q is damaged: its bytes have CRC-32C %08x, the header says %08x", e.Tensor, e.Got, e.Want)
}

func readAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d of %d bytes at %d: %w", n, len(p), off, err)
}
