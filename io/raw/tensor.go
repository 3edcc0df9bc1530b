package raw

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"unsafe"
)

// Tensor is a named tensor. Data is row-major and little-endian, exactly Len elements of DType.
// A Tensor read from a file owns its Data; one made by [FromFloat32] shares the caller's slice.
type Tensor struct {
	Name  string
	DType DType
	Shape []int // no dimension is a scalar
	Data  []byte
}

// Count is the number of elements of a shape, and whether every dimension is non-negative and the
// number, at size bytes an element, fits an int.
func Count(shape []int, size int) (n int, ok bool) {
	n = 1
	zero := false
	for _, d := range shape {
		if d < 0 {
			return 0, false
		}
		if d == 0 {
			zero = true
			continue
		}
		hi, lo := bits.Mul64(uint64(n), uint64(d))
		if hi != 0 || lo > math.MaxInt64/uint64(max(size, 1)) {
			return 0, false
		}
		n = int(lo)
	}
	if zero {
		return 0, true
	}
	return n, true
}

// Check says in what way t is not well formed: its type, its shape, or a length of Data that does not follow from both.
func (t *Tensor) Check() error {
	if !t.DType.Valid() {
		return fmt.Errorf("tensor %q: %v is not an element type", t.Name, t.DType)
	}
	n, ok := Count(t.Shape, t.DType.Size())
	if !ok {
		return fmt.Errorf("tensor %q: shape %v is negative or too large", t.Name, t.Shape)
	}
	if len(t.Data) != n*t.DType.Size() {
		return fmt.Errorf("tensor %q: %d bytes for shape %v of %v, expected %d", t.Name, len(t.Data), t.Shape, t.DType, n*t.DType.Size())
	}
	return nil
}

// Len is the number of elements that Data holds.
func (t *Tensor) Len() int { return len(t.Data) / t.DType.Size() }

// littleEndian is true on every machine that contraflow has kernels for; the others copy.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// FromFloat32 makes a float32 tensor. On little-endian machines it shares data; do not change data while it is in use.
func FromFloat32(name string, shape []int, data []float32) Tensor {
	t := Tensor{Name: name, DType: Float32, Shape: shape}
	if littleEndian {
		t.Data = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), 4*len(data))
		return t
	}
	t.Data = make([]byte, 0, 4*len(data))
	for _, v := range data {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(v))
	}
	return t
}

// FromInt64 makes an int64 tensor with a copy of data.
func FromInt64(name string, shape []int, data []int64) Tensor {
	t := Tensor{Name: name, DType: Int64, Shape: shape, Data: make([]byte, 0, 8*len(data))}
	for _, v := range data {
		t.Data = binary.LittleEndian.AppendUint64(t.Data, uint64(v))
	}
	return t
}

// Float32s is a fresh slice with every element converted to float32: exact for float32, float16, bfloat16, bool
// and small integers, rounded to nearest even for the others.
func (t *Tensor) Float32s() []float32 {
	out := make([]float32, t.Len())
	if t.DType == Float32 && littleEndian {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(out))), 4*len(out)), t.Data)
		return out
	}
	for i := range out {
		out[i] = t.float32At(i)
	}
	return out
}

// At is element i of the flattened tensor, as float64; int64 beyond 2^53 is rounded.
func (t *Tensor) At(i int) float64 {
	d := t.Data
	switch t.DType {
	case Float32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(d[4*i:])))
	case Float64:
		return math.Float64frombits(binary.LittleEndian.Uint64(d[8*i:]))
	case Float16:
		return float64(Half(binary.LittleEndian.Uint16(d[2*i:])))
	case BFloat16:
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(d[2*i:])) << 16))
	}
	return float64(t.Int(i))
}

func (t *Tensor) float32At(i int) float32 {
	if t.DType.Float() {
		return float32(t.At(i))
	}
	return float32(t.Int(i)) // not through float64: that would round twice
}

// Int is element i of a tensor of integers or bools; a float is truncated.
func (t *Tensor) Int(i int) int64 {
	d := t.Data
	switch t.DType {
	case Int64:
		return int64(binary.LittleEndian.Uint64(d[8*i:]))
	case Int32:
		return int64(int32(binary.LittleEndian.Uint32(d[4*i:])))
	case Int16:
		return int64(int16(binary.LittleEndian.Uint16(d[2*i:])))
	case Int8:
		return int64(int8(d[i]))
	case Uint8, Bool:
		return int64(d[i])
	}
	return int64(t.At(i))
}

// Half converts an IEEE binary16 to float32, exactly.
func Half(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exp {
	case 0: // zero or subnormal: frac · 2^-24
		f := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 0x1f: // infinity or NaN, payload kept
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}
