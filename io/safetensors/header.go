package safetensors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strconv"

	"github.com/contraflow/contraflow/io/raw"
)

const (
	maxHeader  = 100_000_000 // the format's own limit
	metadata   = "__metadata__"
	checksum   = "crc32c:" // metadata key prefix, followed by the tensor's name
	headerUnit = 8         // headers are padded so that the data starts at a multiple of it
)

var types = map[string]raw.DType{
	"F64": raw.Float64, "F32": raw.Float32, "F16": raw.Float16, "BF16": raw.BFloat16,
	"I64": raw.Int64, "I32": raw.Int32, "I16": raw.Int16, "I8": raw.Int8, "U8": raw.Uint8, "BOOL": raw.Bool,
}

func typeName(d raw.DType) string {
	for name, t := range types {
		if t == d {
			return name
		}
	}
	panic("safetensors: no name for " + d.String())
}

// Entry describes one tensor of a file.
type Entry struct {
	Name  string
	DType raw.DType
	Shape []int
	Sum   *uint32 // CRC-32C of the bytes, nil when the file has none

	begin, end int64 // in the data section
}

// Bytes is the length of the tensor in the file.
func (e *Entry) Bytes() int64 { return e.end - e.begin }

// parseHeader reads the JSON header of a file with size bytes of data behind it. Entries are in file order.
func parseHeader(text []byte, size int64) ([]Entry, map[string]string, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, fmt.Errorf("header is not a JSON object")
	}
	var entries []Entry
	var meta map[string]string
	seen := make(map[string]bool)
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, nil, fmt.Errorf("header: %w", err)
		}
		name := t.(string) // More inside an object: the decoder only yields keys
		if seen[name] {
			return nil, nil, fmt.Errorf("header names %q twice", name)
		}
		seen[name] = true
		if name == metadata {
			if err := dec.Decode(&meta); err != nil {
				return nil, nil, fmt.Errorf("header: %s: %w", metadata, err)
			}
			continue
		}
		e, err := parseEntry(dec, name, size)
		if err != nil {
			return nil, nil, err
		}
		entries = append(entries, e)
	}
	if _, err := dec.Token(); err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, nil, fmt.Errorf("header has bytes behind its JSON object")
	}
	sort.SliceStable(entries, func(i, j int) bool {
		a, b := &entries[i], &entries[j]
		if a.begin != b.begin {
			return a.begin < b.begin
		}
		return a.end < b.end // an empty tensor comes before the one that starts where it is
	})
	var at int64
	for i := range entries {
		e := &entries[i]
		if e.begin != at {
			return nil, nil, fmt.Errorf("tensor %q starts at byte %d, expected %d: holes and overlaps are not allowed", e.Name, e.begin, at)
		}
		at = e.end
		if hex, ok := meta[checksum+e.Name]; ok {
			sum, err := strconv.ParseUint(hex, 16, 32)
			if err != nil {
				return nil, nil, fmt.Errorf("tensor %q: checksum %q is not eight hexadecimal digits", e.Name, hex)
			}
			sum32 := uint32(sum)
			e.Sum = &sum32
		}
	}
	if at != size {
		return nil, nil, fmt.Errorf("tensors cover %d bytes of data, but %d follow the header: the file is truncated or has been appended to", at, size)
	}
	return entries, meta, nil
}

func parseEntry(dec *json.Decoder, name string, size int64) (Entry, error) {
	var j struct {
		DType   string   `json:"dtype"`
		Shape   []int    `json:"shape"`
		Offsets *[]int64 `json:"data_offsets"`
	}
	if err := dec.Decode(&j); err != nil {
		return Entry{}, fmt.Errorf("header: tensor %q: %w", name, err)
	}
	d, ok := types[j.DType]
	if !ok {
		return Entry{}, fmt.Errorf("tensor %q has type %q, which is not one of F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL", name, j.DType)
	}
	if j.Offsets == nil || len(*j.Offsets) != 2 {
		return Entry{}, fmt.Errorf("tensor %q has no pair of data_offsets", name)
	}
	e := Entry{Name: name, DType: d, Shape: j.Shape, begin: (*j.Offsets)[0], end: (*j.Offsets)[1]}
	if e.begin < 0 || e.end < e.begin || e.end > size {
		return Entry{}, fmt.Errorf("tensor %q claims bytes %d to %d of %d: the file is truncated or damaged", name, e.begin, e.end, size)
	}
	n, ok := raw.Count(j.Shape, d.Size())
	if !ok || int64(n)*int64(d.Size()) != e.end-e.begin {
		return Entry{}, fmt.Errorf("tensor %q: shape %v of %v does not fill its %d bytes", name, j.Shape, d, e.end-e.begin)
	}
	return e, nil
}

// appendHeader is the padded JSON header for tensors in order.
func appendHeader(tensors []raw.Tensor, sums []uint32, meta map[string]string) ([]byte, error) {
	all := make(map[string]string, len(meta)+len(tensors))
	for k, v := range meta {
		all[k] = v
	}
	for i := range tensors {
		all[checksum+tensors[i].Name] = fmt.Sprintf("%08x", sums[i])
	}
	var b bytes.Buffer
	b.WriteByte('{')
	write := func(key string, value any) error {
		k, err := json.Marshal(key)
		if err != nil {
			return err
		}
		v, err := json.Marshal(value)
		if err != nil {
			return err
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.Write(k)
		b.WriteByte(':')
		b.Write(v)
		return nil
	}
	if len(all) > 0 {
		if err := write(metadata, all); err != nil {
			return nil, err
		}
	}
	at := int64(0)
	for i := range tensors {
		t := &tensors[i]
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		end := at + int64(len(t.Data))
		if err := write(t.Name, struct {
			DType   string   `json:"dtype"`
			Shape   []int    `json:"shape"`
			Offsets [2]int64 `json:"data_offsets"`
		}{typeName(t.DType), shape, [2]int64{at, end}}); err != nil {
			return nil, err
		}
		at = end
	}
	b.WriteByte('}')
	for b.Len()%headerUnit != 0 {
		b.WriteByte(' ')
	}
	if b.Len() > maxHeader {
		return nil, fmt.Errorf("header of %d bytes is beyond the format's limit of %d", b.Len(), maxHeader)
	}
	return b.Bytes(), nil
}
