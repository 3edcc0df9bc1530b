package npz

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/contraflow/contraflow/io/raw"
)

// maxRatio is how many bytes one compressed byte can stand for in the deflate format, rounded up.
const maxRatio = 1040

// An archive of more than freeGrowth bytes is at most maxGrowth times as large inside as outside: zeros are a part of real states, not all.
const freeGrowth, maxGrowth = 256 << 20, 100

// File is an open .npz. Its arrays may be read concurrently.
type File struct {
	Names []string // arrays in file order, without ".npy"

	records map[string]*zip.File
	close   func() error
}

// Open opens an archive. Close it when the arrays have been read.
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
	z, err := NewFile(f, info.Size())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	z.close = f.Close
	return z, nil
}

// NewFile reads the directory of the size bytes of r, which must stay readable while the File is used.
func NewFile(r io.ReaderAt, size int64) (*File, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("not an npz archive, or a truncated one: %w", err)
	}
	f := &File{records: make(map[string]*zip.File), close: func() error { return nil }}
	inside := uint64(0)
	for _, record := range z.File {
		name, ok := strings.CutSuffix(record.Name, ".npy")
		if !ok {
			return nil, fmt.Errorf("npz archive has a record %.100q that is no .npy array", record.Name)
		}
		if f.records[name] != nil {
			return nil, fmt.Errorf("npz archive has two arrays %.100q", name)
		}
		if record.UncompressedSize64/maxRatio > record.CompressedSize64 || record.CompressedSize64 > uint64(size) {
			return nil, fmt.Errorf("npz array %.100q claims %d bytes out of %d: damaged", name, record.UncompressedSize64, record.CompressedSize64)
		}
		if inside += record.UncompressedSize64; inside > freeGrowth && inside/maxGrowth > uint64(size) {
			return nil, fmt.Errorf("npz arrays of %d bytes and more in a file of %d: taken for a decompression bomb", inside, size)
		}
		f.records[name] = record
		f.Names = append(f.Names, name)
	}
	return f, nil
}

// Close closes the file that Open opened.
func (f *File) Close() error { return f.close() }

// Read reads one array; the archive's CRC-32 is verified.
func (f *File) Read(name string) (raw.Tensor, error) {
	record := f.records[name]
	if record == nil {
		return raw.Tensor{}, fmt.Errorf("no array %q among %d", name, len(f.Names))
	}
	r, err := record.Open()
	if err != nil {
		return raw.Tensor{}, fmt.Errorf("array %q: %w", name, err)
	}
	defer r.Close()
	t, err := ReadArray(r)
	if err == nil {
		var rest [1]byte // the checksum is only compared at the end of the record
		if n, e := r.Read(rest[:]); n > 0 {
			err = fmt.Errorf("bytes behind the last element")
		} else if e != io.EOF {
			err = e
		}
	}
	if err != nil {
		return raw.Tensor{}, fmt.Errorf("array %q: %w", name, err)
	}
	t.Name = name
	return t, nil
}

// Write writes an archive as numpy.savez does: every tensor a stored record NAME.npy. A name may contain '/'; NumPy
// reads it back under the same name.
func Write(w io.Writer, tensors []raw.Tensor) error {
	z := zip.NewWriter(w)
	seen := make(map[string]bool, len(tensors))
	for i := range tensors {
		t := &tensors[i]
		if seen[t.Name] || t.Name == "" {
			return fmt.Errorf("array %q: the name is empty or taken", t.Name)
		}
		seen[t.Name] = true
		r, err := z.CreateHeader(&zip.FileHeader{Name: t.Name + ".npy", Method: zip.Store})
		if err != nil {
			return err
		}
		if err := WriteArray(r, *t); err != nil {
			return fmt.Errorf("array %q: %w", t.Name, err)
		}
	}
	return z.Close()
}
