package cpu

import (
	"sync"
	"unsafe"
)

// gatherISA is the kernels of the memory, chosen once as for a device.
var gatherISA = sync.OnceValue(func() isa {
	k, err := pick()
	if err != nil {
		return generic
	}
	return k
})

// NewRows is n zeroed values for rows that are gathered: on huge pages where the system grants them, as rows are read at random.
func NewRows(n int) []float32 { return aligned(n) }

// GatherDot is out[j] = x·row index[j] of rows [·,len(x)], for every value of out. Rows of further indices are fetched.
func GatherDot(out, x, rows []float32, index []int32) {
	k := gatherISA()
	k.gatherDot(out, x, rows, index)
}

// GatherSum is sum += Σ_j coef[j]·row index[j] of rows [·,len(sum)].
func GatherSum(sum, coef, rows []float32, index []int32) {
	k := gatherISA()
	k.gatherSum(sum, coef, rows, index)
}

func (k *isa) gatherDot(out, x, rows []float32, index []int32) {
	c := len(x)
	if len(out) == 0 {
		return
	}
	_ = index[len(out)-1]
	if c%32 == 0 && c > 0 && k.vector {
		f := gatherDot8
		if k.packs16 {
			f = gatherDot512
		}
		f(ptr(out, 0), ptr(x, 0), ptr(rows, 0), unsafe.Pointer(&index[0]), len(out), len(index), c)
		return
	}
	for j, r := range index[:len(out)] {
		out[j] = dot(x, rows[int(r)*c:][:c])
	}
}

func (k *isa) gatherSum(sum, coef, rows []float32, index []int32) {
	c := len(sum)
	if len(index) == 0 {
		return
	}
	_ = coef[len(index)-1]
	if c%64 == 0 && c > 0 && k.vector {
		f := gatherSum8
		if k.packs16 && c%128 == 0 {
			f = gatherSum512
		}
		f(ptr(sum, 0), ptr(coef, 0), ptr(rows, 0), unsafe.Pointer(&index[0]), len(index), c)
		return
	}
	for j, r := range index {
		f := coef[j]
		for k, v := range rows[int(r)*c:][:c] {
			sum[k] += f * v
		}
	}
}

// dot is Σ a·b in four interleaved sums.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	for len(a) >= 4 && len(b) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	for i, v := range a {
		s0 += v * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}
