package torch

import (
	"archive/zip"
	"fmt"
	"io"
	"strings"
)

// maxPickle is the largest data.pkl of a zip.
const maxPickle = 32 << 20

// readZip reads the archive layout: NAME/data.pkl, and NAME/data/KEY for each storage. torch.save compresses
// nothing; a compressed record is refused, so that no archive is larger inside than outside.
func readZip(r io.ReaderAt, size int64) (Value, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("zip archive without a readable directory: the file is truncated or damaged (%w)", err)
	}
	records := make(map[string]*zip.File, len(z.File))
	var root string
	for _, f := range z.File {
		if records[f.Name] != nil {
			return nil, fmt.Errorf("zip archive has two records %.100q", f.Name)
		}
		records[f.Name] = f
		if dir, ok := strings.CutSuffix(f.Name, "/data.pkl"); ok && !strings.Contains(dir, "/") {
			if root != "" {
				return nil, fmt.Errorf("zip archive has two objects, %.100q and %.100q", root, dir)
			}
			root = dir
		}
	}
	if root == "" {
		return nil, fmt.Errorf("zip archive without a data.pkl: not written by torch.save")
	}
	if order := records[root+"/byteorder"]; order != nil {
		b, err := record(r, size, order, 16)
		if err != nil {
			return nil, err
		}
		text := make([]byte, b.numel)
		if _, err := readFull(r, text, b.off); err != nil {
			return nil, err
		}
		if string(text) != "little" {
			return nil, fmt.Errorf("byte order is %q, expected little", text)
		}
	}
	pkl, err := record(r, size, records[root+"/data.pkl"], maxPickle)
	if err != nil {
		return nil, err
	}
	ids := storages{byKey: make(map[string]*storage)}
	m := newMachine(io.NewSectionReader(r, pkl.off, int64(pkl.numel)), int64(pkl.numel), ids.persist)
	v, err := m.load()
	if err != nil {
		return nil, err
	}
	for _, key := range ids.keys {
		f := records[root+"/data/"+key]
		if f == nil {
			return nil, fmt.Errorf("zip archive lacks the storage %.100q", key)
		}
		s := ids.byKey[key]
		b, err := record(r, size, f, size)
		if err != nil {
			return nil, err
		}
		if need := s.numel * s.dtype.Size(); b.numel != need {
			return nil, fmt.Errorf("storage %.100q has %d bytes, its %d elements of %v need %d", key, b.numel, s.numel, s.dtype, need)
		}
		s.r, s.off, s.crc = r, b.off, b.crc
	}
	return v, nil
}

// record finds where the bytes of f lie; numel of the result counts bytes.
func record(r io.ReaderAt, size int64, f *zip.File, limit int64) (*storage, error) {
	if f.Method != zip.Store || f.CompressedSize64 != f.UncompressedSize64 {
		return nil, fmt.Errorf("zip record %.100q is compressed, which torch.save never does: refused", f.Name)
	}
	off, err := f.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("zip record %.100q: %w", f.Name, err)
	}
	if n := f.UncompressedSize64; n > uint64(limit) || off < 0 || off > size || n > uint64(size-off) {
		return nil, fmt.Errorf("zip record %.100q has %d bytes: more than the file or the format allows", f.Name, n)
	}
	return &storage{r: r, off: off, numel: int(f.UncompressedSize64), crc: f.CRC32}, nil
}
