package safetensors

import (
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/contraflow/contraflow/io/raw"
)

// Write writes tensors in order, with a checksum for each. meta may be nil; keys that start with "crc32c:" are taken.
// The large writes go to w as they are, unbuffered.
func Write(w io.Writer, tensors []raw.Tensor, meta map[string]string) error {
	return WriteSummed(w, tensors, Sums(tensors), meta)
}

// Sums are the checksums of the bytes of tensors.
func Sums(tensors []raw.Tensor) []uint32 {
	sums := make([]uint32, len(tensors))
	for i := range tensors {
		sums[i] = Sum(tensors[i].Data)
	}
	return sums
}

// WriteSummed is Write for a caller that has the Sums.
func WriteSummed(w io.Writer, tensors []raw.Tensor, sums []uint32, meta map[string]string) error {
	seen := make(map[string]bool, len(tensors))
	for i := range tensors {
		t := &tensors[i]
		if err := t.Check(); err != nil {
			return err
		}
		if seen[t.Name] || t.Name == metadata || !utf8.ValidString(t.Name) {
			return fmt.Errorf("tensor %q: the name is taken or not UTF-8", t.Name)
		}
		seen[t.Name] = true
	}
	header, err := appendHeader(tensors, sums, meta)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)); err != nil {
		return err
	}
	for i := range tensors {
		if len(tensors[i].Data) == 0 {
			continue
		}
		if _, err := w.Write(tensors[i].Data); err != nil {
			return fmt.Errorf("tensor %q: %w", tensors[i].Name, err)
		}
	}
	return nil
}
