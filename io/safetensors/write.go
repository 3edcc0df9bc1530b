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
	sums := make([]uint32, len(tensors))
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
		sums[i] = Sum(t.Data)
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
