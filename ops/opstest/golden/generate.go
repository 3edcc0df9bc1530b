package golden

import (
	"cmp"
	"math"
	"slices"
)

// The deterministic generator of the files: splitmix64 streams numbered by seed and tensor.

const gamma = 0x9E3779B97F4A7C15

func fin(z uint64) uint64 {
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// Hash is output i of the stream of tensor t under seed s.
func Hash(s, t, i uint64) uint64 {
	return fin(fin(fin(s+gamma)+t+gamma) + (i+1)*gamma)
}

// Value is Hash as a float32 on a grid in [-1,1).
func Value(s, t, i uint64) float32 {
	return float32(float64(Hash(s, t, i)>>40)*0x1p-23 - 1)
}

// Fill writes the values of tensor t.
func Fill(dst []float32, s, t uint64) {
	for i := range dst {
		dst[i] = Value(s, t, uint64(i))
	}
}

// Image is the smooth input of the encoder cases, [b,c,h,w].
func Image(s, t uint64, b, c, h, w int) []float32 {
	out := make([]float32, b*c*h*w)
	i := 0
	for p := range b * c {
		for y := range h {
			for x := range w {
				coarse := (p*16+y*16/h)*16 + x*16/w
				out[i] = 0.5*Value(s, t, uint64(coarse)) + 0.25*Value(s, t+1, uint64(i))
				i++
			}
		}
	}
	return out
}

// Memory is a bank of rows×dim.
func Memory(s, t uint64, rows, dim int) []float32 {
	out := make([]float32, rows*dim)
	scale := float32(1 / math.Sqrt(float64(dim)/3))
	for i := range out {
		out[i] = Value(s, t, uint64(i)) * scale
	}
	return out
}

// Param fills the state-dict entry number t by the rule for its name and shape.
func Param(dst []float32, s, t uint64, name string, shape []int) {
	suffix := func(x string) bool { return len(name) >= len(x) && name[len(name)-len(x):] == x }
	for i := range dst {
		v := Value(s, t, uint64(i))
		switch {
		case suffix("num_batches_tracked"):
			v = 0
		case suffix("running_mean"):
			v *= 0.125
		case suffix("running_var"):
			v = 1 + v*0.5
		case len(shape) >= 2:
			fan := 1
			for _, d := range shape[1:] {
				fan *= d
			}
			v *= float32(math.Sqrt(6 / float64(fan)))
		case suffix("bn3.weight"):
			v = 0.25 + v*0.0625
		case suffix("weight"):
			v = 1 + v*0.25
		default:
			v *= 0.125
		}
		dst[i] = v
	}
}

// Perm is the permutation of n that sorts the first n hashes, as unsigned integers; equal ones keep their order.
func Perm(s, t uint64, n int) []int {
	out, h := make([]int, n), make([]uint64, n)
	for i := range out {
		out[i], h[i] = i, Hash(s, t, uint64(i))
	}
	slices.SortStableFunc(out, func(a, b int) int { return cmp.Compare(h[a], h[b]) })
	return out
}
