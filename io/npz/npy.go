package npz

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/contraflow/contraflow/io/raw"
)

const (
	magic      = "\x93NUMPY"
	maxHeader  = 1 << 16 // bytes of the header's text; NumPy's own limit for unsafe text is 10000
	headerUnit = 64      // data starts at a multiple of it
)

var kinds = map[string]raw.DType{
	"f8": raw.Float64, "f4": raw.Float32, "f2": raw.Float16, "i8": raw.Int64, "i4": raw.Int32, "i2": raw.Int16,
	"i1": raw.Int8, "u1": raw.Uint8, "b1": raw.Bool,
}

// header is what stands before the elements.
type header struct {
	dtype   raw.DType
	big     bool
	fortran bool
	shape   []int
	size    int64 // bytes of the elements
}

var (
	descrKey   = regexp.MustCompile(`['"]descr['"]\s*:\s*['"]([^'"]*)['"]`)
	fortranKey = regexp.MustCompile(`['"]fortran_order['"]\s*:\s*(True|False)`)
	shapeKey   = regexp.MustCompile(`['"]shape['"]\s*:\s*\(([0-9L,\s]*)\)`)
)

// readHeader reads magic, version and the Python dictionary.
func readHeader(r io.Reader) (*header, error) {
	var start [8]byte
	if _, err := io.ReadFull(r, start[:]); err != nil || string(start[:6]) != magic {
		return nil, fmt.Errorf("not an npy array: it does not start with \\x93NUMPY")
	}
	var length [4]byte
	n := 2
	if start[6] > 1 {
		n = 4
	}
	if start[6] < 1 || start[6] > 3 {
		return nil, fmt.Errorf("npy version %d, expected 1 to 3", start[6])
	}
	if _, err := io.ReadFull(r, length[:n]); err != nil {
		return nil, fmt.Errorf("npy header: %w", io.ErrUnexpectedEOF)
	}
	size := binary.LittleEndian.Uint32(length[:])
	if size > maxHeader {
		return nil, fmt.Errorf("npy header of %d bytes, at most %d are allowed", size, maxHeader)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, fmt.Errorf("npy header: %w", io.ErrUnexpectedEOF)
	}
	return parseHeader(string(text))
}

func parseHeader(text string) (*header, error) {
	descr, fortran, shape := descrKey.FindStringSubmatch(text), fortranKey.FindStringSubmatch(text), shapeKey.FindStringSubmatch(text)
	if descr == nil || fortran == nil || shape == nil {
		return nil, fmt.Errorf("npy header %.120q lacks a simple descr, fortran_order or shape: records and objects are not supported", text)
	}
	h := &header{fortran: fortran[1] == "True", big: strings.HasPrefix(descr[1], ">")}
	var ok bool
	if h.dtype, ok = kinds[strings.TrimLeft(descr[1], "<>=|")]; !ok {
		return nil, fmt.Errorf("npy element type %.20q is not a number or bool of a size that tensors have", descr[1])
	}
	for _, field := range strings.Split(shape[1], ",") {
		field = strings.TrimSuffix(strings.TrimSpace(field), "L") // Python 2 wrote 3L
		if field == "" {
			continue
		}
		d, err := strconv.Atoi(field)
		if err != nil || len(h.shape) >= 64 {
			return nil, fmt.Errorf("npy shape (%.60s) has no dimensions that fit", shape[1])
		}
		h.shape = append(h.shape, d)
	}
	n, ok := raw.Count(h.shape, h.dtype.Size())
	if !ok {
		return nil, fmt.Errorf("npy shape %v is too large", h.shape)
	}
	h.size = int64(n) * int64(h.dtype.Size())
	return h, nil
}

// ReadArray reads one .npy. The tensor has no name. Memory grows with what r delivers, not with what it announces.
func ReadArray(r io.Reader) (raw.Tensor, error) {
	h, err := readHeader(r)
	if err != nil {
		return raw.Tensor{}, err
	}
	var b bytes.Buffer
	b.Grow(int(min(h.size, 1<<20)))
	if n, err := io.CopyN(&b, r, h.size); err != nil {
		return raw.Tensor{}, fmt.Errorf("npy array of shape %v ends after %d of %d bytes: %w", h.shape, n, h.size, err)
	}
	return h.tensor(b.Bytes()), nil
}

// tensor turns the elements as they are in the file into little-endian, row-major ones.
func (h *header) tensor(data []byte) raw.Tensor {
	t := raw.Tensor{DType: h.dtype, Shape: h.shape, Data: data}
	size := h.dtype.Size()
	if h.big {
		for i := 0; i+size <= len(data); i += size {
			for a, z := i, i+size-1; a < z; a, z = a+1, z-1 {
				data[a], data[z] = data[z], data[a]
			}
		}
	}
	if h.fortran && len(h.shape) > 1 && len(data) > 0 {
		t.Data = rowMajor(data, h.shape, size)
	}
	return t
}

// rowMajor copies elements whose first index runs fastest into the order in which the last one does.
func rowMajor(data []byte, shape []int, size int) []byte {
	strides := make([]int, len(shape))
	step := size
	for i, d := range shape {
		strides[i] = step
		step *= d
	}
	out := make([]byte, 0, len(data))
	index := make([]int, len(shape))
	for at := 0; len(out) < len(data); {
		out = append(out, data[at:at+size]...)
		for d := len(shape) - 1; d >= 0; d-- {
			index[d]++
			at += strides[d]
			if index[d] < shape[d] {
				break
			}
			at -= strides[d] * shape[d]
			index[d] = 0
		}
	}
	return out
}

// WriteArray writes t as .npy version 1, little-endian in C order. NumPy has no bfloat16: such a tensor is written
// as float32, which holds it exactly.
func WriteArray(w io.Writer, t raw.Tensor) error {
	if err := t.Check(); err != nil {
		return err
	}
	if t.DType == raw.BFloat16 {
		t = raw.FromFloat32(t.Name, t.Shape, t.Float32s())
	}
	kind := ""
	for k, d := range kinds {
		if d == t.DType {
			kind = k
		}
	}
	order := "<"
	if t.DType.Size() == 1 {
		order = "|"
	}
	dims := make([]string, len(t.Shape))
	for i, d := range t.Shape {
		dims[i] = strconv.Itoa(d)
	}
	shape := strings.Join(dims, ", ")
	if len(dims) == 1 {
		shape += ","
	}
	text := fmt.Sprintf("{'descr': '%s%s', 'fortran_order': False, 'shape': (%s), }", order, kind, shape)
	fixed := len(magic) + 4
	pad := headerUnit - (fixed+len(text)+1)%headerUnit
	text += strings.Repeat(" ", pad%headerUnit) + "\n"
	b := append([]byte(magic), 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	if _, err := w.Write(append(b, text...)); err != nil {
		return err
	}
	_, err := w.Write(t.Data)
	return err
}
