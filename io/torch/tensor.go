package torch

import (
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"sync"

	"github.com/contraflow/contraflow/io/raw"
)

// maxRepeat is the largest tensor, in elements, that may be larger than its storage (an expanded view).
const maxRepeat = 1 << 20

// storage is a block of elements in a file, or in memory when r is a bytes.Reader.
type storage struct {
	dtype raw.DType
	numel int

	r   io.ReaderAt
	off int64
	crc uint32 // CRC-32 (IEEE) of all of it, 0 when unknown

	once sync.Once
	err  error

	root  *storage // of a view written by old versions
	shift int      // where the view starts in root
}

// Tensor is a view of a storage: a shape, and how many elements one step along each dimension skips. Reading it
// gives the elements in logical (row-major) order. Tensors of an open file may be read concurrently.
type Tensor struct {
	DType raw.DType
	Shape []int

	strides []int
	offset  int
	s       *storage
	mem     []byte // row-major contents of a tensor made by FromRaw; then s is nil
}

// FromRaw makes a tensor for writing. It shares t.Data.
func FromRaw(t raw.Tensor) (*Tensor, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	return &Tensor{DType: t.DType, Shape: t.Shape, mem: t.Data}, nil
}

// Len is the number of elements.
func (t *Tensor) Len() int {
	n, _ := raw.Count(t.Shape, t.DType.Size())
	return n
}

// rebuildTensor is torch._utils._rebuild_tensor and _v2: (storage, offset, size, stride, …).
func rebuildTensor(args Tuple) (*Tensor, error) {
	s, ok := arg[*storage](args, 0)
	offset, ok2 := arg[int64](args, 1)
	shape, ok3 := ints(args, 2)
	strides, ok4 := ints(args, 3)
	if !ok || !ok2 || !ok3 || !ok4 || len(shape) != len(strides) {
		return nil, fmt.Errorf("arguments are not a storage, an offset, a shape and strides")
	}
	n, ok := raw.Count(shape, s.dtype.Size())
	if !ok {
		return nil, fmt.Errorf("shape %v is negative or too large", shape)
	}
	if n > s.numel && n > maxRepeat {
		return nil, fmt.Errorf("shape %v has more elements than its storage of %d", shape, s.numel)
	}
	if offset < 0 || offset > int64(s.numel) {
		return nil, fmt.Errorf("offset %d is outside the storage of %d elements", offset, s.numel)
	}
	last := uint64(offset) // the last element used
	for i, d := range shape {
		if strides[i] < 0 {
			return nil, fmt.Errorf("strides %v are negative", strides)
		}
		if n == 0 || d == 1 {
			continue
		}
		hi, lo := bits.Mul64(uint64(d-1), uint64(strides[i]))
		if last += lo; hi != 0 || lo >= uint64(s.numel) || last >= uint64(s.numel) {
			return nil, fmt.Errorf("shape %v with strides %v at %d leaves the storage of %d elements", shape, strides, offset, s.numel)
		}
	}
	if n > 0 && last >= uint64(s.numel) {
		return nil, fmt.Errorf("shape %v at %d leaves the storage of %d elements", shape, offset, s.numel)
	}
	return &Tensor{DType: s.dtype, Shape: shape, strides: strides, offset: int(offset), s: s}, nil
}

// ints is a tuple of at most 16 integers.
func ints(args Tuple, i int) ([]int, bool) {
	t, ok := arg[Tuple](args, i)
	if !ok || len(t) > 16 {
		return nil, false
	}
	out := make([]int, len(t))
	for i, v := range t {
		n, ok := v.(int64)
		if !ok || n != int64(int(n)) {
			return nil, false
		}
		out[i] = int(n)
	}
	return out, true
}

// Raw reads the tensor, naming it.
func (t *Tensor) Raw(name string) (raw.Tensor, error) {
	out := raw.Tensor{Name: name, DType: t.DType, Shape: t.Shape}
	if t.s == nil {
		out.Data = t.mem
		return out, nil
	}
	n, size := t.Len(), t.DType.Size()
	if n == 0 {
		return out, nil
	}
	if t.contiguous() {
		var err error
		if out.Data, err = t.s.read(t.offset, n); err != nil {
			return out, fmt.Errorf("tensor %q: %w", name, err)
		}
		return out, nil
	}
	span := 1
	for i, d := range t.Shape {
		span += (d - 1) * t.strides[i]
	}
	src, err := t.s.read(t.offset, span)
	if err != nil {
		return out, fmt.Errorf("tensor %q: %w", name, err)
	}
	out.Data = make([]byte, 0, n*size)
	index := make([]int, len(t.Shape))
	for at := 0; ; {
		out.Data = append(out.Data, src[at*size:(at+1)*size]...)
		d := len(index) - 1
		for ; d >= 0; d-- { // count up like an odometer
			index[d]++
			at += t.strides[d]
			if index[d] < t.Shape[d] {
				break
			}
			at -= t.strides[d] * t.Shape[d]
			index[d] = 0
		}
		if d < 0 {
			return out, nil
		}
	}
}

// Float32 reads the tensor and converts it to float32; see [raw.Tensor.Float32s].
func (t *Tensor) Float32() ([]float32, error) {
	r, err := t.Raw("")
	if err != nil {
		return nil, err
	}
	return r.Float32s(), nil
}

// contiguous reports whether logical order is storage order.
func (t *Tensor) contiguous() bool {
	step := 1
	for i := len(t.Shape) - 1; i >= 0; i-- {
		if t.Shape[i] != 1 && t.strides[i] != step {
			return false
		}
		step *= t.Shape[i]
	}
	return true
}

// read reads n elements from element at on. What it returns has been checked against the storage's CRC.
func (s *storage) read(at, n int) ([]byte, error) {
	if s.root != nil {
		return s.root.read(s.shift+at, n)
	}
	size := s.dtype.Size()
	b := make([]byte, n*size)
	if _, err := readFull(s.r, b, s.off+int64(at*size)); err != nil {
		return nil, err
	}
	if s.crc == 0 {
		return b, nil
	}
	if n == s.numel {
		return b, s.verify(crc32.ChecksumIEEE(b))
	}
	s.once.Do(func() { // a part: check the whole once, in small pieces
		h := crc32.NewIEEE()
		if _, s.err = io.Copy(h, io.NewSectionReader(s.r, s.off, int64(s.numel*size))); s.err == nil {
			s.err = s.verify(h.Sum32())
		}
	})
	return b, s.err
}

func (s *storage) verify(got uint32) error {
	if got != s.crc {
		return fmt.Errorf("storage is damaged: CRC-32 %08x, the archive says %08x", got, s.crc)
	}
	return nil
}

func readFull(r io.ReaderAt, p []byte, off int64) (int, error) {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, fmt.Errorf("%d of %d bytes at %d: %w", n, len(p), off, err)
}
