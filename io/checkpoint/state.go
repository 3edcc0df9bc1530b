package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/io/safetensors"
)

// State is everything a run needs to go on as if it had not stopped.
type State struct {
	Step, Epoch int // of the next step, both counted from 0
	Tensors     []raw.Tensor
	Meta        map[string]json.RawMessage // options, meters, bank pointer, versions: whatever its owner understands
}

// Tensor finds a tensor by name, or nil.
func (s *State) Tensor(name string) *raw.Tensor {
	for i := range s.Tensors {
		if s.Tensors[i].Name == name {
			return &s.Tensors[i]
		}
	}
	return nil
}

// The files of a checkpoint.
const (
	TensorFile = "tensors.safetensors"
	StateFile  = "state.json"
)

// format is the version of state.json.
const format = 1

// document is state.json without its checksum. Digest covers what the header of the tensor file says.
type document struct {
	Format  int                        `json:"format"`
	Step    int                        `json:"step"`
	Epoch   int                        `json:"epoch"`
	Tensors int                        `json:"tensors"`
	Digest  string                     `json:"digest"`
	Meta    map[string]json.RawMessage `json:"meta"`
}

// encode is state.json: {"crc32c": …, "state": document}, the checksum being that of document's bytes as they stand.
func (s *State) encode(digest string) ([]byte, error) {
	doc, err := json.MarshalIndent(document{format, s.Step, s.Epoch, len(s.Tensors), digest, s.Meta}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", StateFile, err)
	}
	return fmt.Appendf(nil, "{\"crc32c\": \"%08x\", \"state\": %s}\n", safetensors.Sum(doc), doc), nil
}

func decode(text []byte) (*document, error) {
	var outer struct {
		CRC32C string
		State  json.RawMessage
	}
	if err := json.Unmarshal(text, &outer); err != nil {
		return nil, err
	}
	if got := fmt.Sprintf("%08x", safetensors.Sum(outer.State)); got != outer.CRC32C {
		return nil, fmt.Errorf("its state has CRC-32C %s, the file says %q", got, outer.CRC32C)
	}
	var doc document
	dec := json.NewDecoder(bytes.NewReader(outer.State))
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if doc.Format != format {
		return nil, fmt.Errorf("format %d, this version reads %d: use the contraflow that wrote it", doc.Format, format)
	}
	return &doc, nil
}

// digest is a CRC-32C over names, types, shapes and checksums of the tensors, in order.
type digest uint32

func (d *digest) add(name string, t raw.DType, shape []int, sum uint32) {
	text := fmt.Appendf(nil, "%q %v %v %08x\n", name, t, shape, sum)
	*d = digest(crc32.Update(uint32(*d), crc32.MakeTable(crc32.Castagnoli), text))
}

func (d digest) String() string { return fmt.Sprintf("%08x", uint32(d)) }

// readAll reads a whole small file, at most limit bytes.
func readAll(fs FS, name string, limit int64) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%d bytes, more than %d", size, limit)
	}
	return io.ReadAll(io.NewSectionReader(f, 0, size))
}
