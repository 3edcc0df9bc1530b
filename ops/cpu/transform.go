package cpu

import "unsafe"

// winoConstants are broadcast by the assembly, which knows their places.
var winoConstants = [9]float32{4, 5, 8, 1.0 / 6, 1.0 / 12, 1.0 / 24, 1.0 / 4, 2, 16}

// The matrices of Winograd's F(4×4,3×3) and F(2×2,5×5) (Lavin and Gray, arXiv:1509.09308) over the points 0, ±1, ±2 and ∞:
// Y = Aᵀ[(G·W·Gᵀ)∘(Bᵀ·X·B)]A.
var (
	winoB  = [][]float32{{4, 0, -5, 0, 1, 0}, {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0}, {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}}
	winoA4 = [][]float32{{1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}}
	winoA2 = [][]float32{{1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 1}}
	winoG3 = [][]float32{{1. / 4, 0, 0}, {-1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6}, {1. / 24, 1. / 12, 1. / 6}, {1. / 24, -1. / 12, 1. / 6}, {0, 0, 1}}
	winoG5 = [][]float32{{1. / 4, 0, 0, 0, 0}, {-1. / 6, -1. / 6, -1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6, 1. / 6, -1. / 6},
		{1. / 24, 1. / 12, 1. / 6, 1. / 3, 2. / 3}, {1. / 24, -1. / 12, 1. / 6, -1. / 3, 2. / 3}, {0, 0, 0, 0, 1}}
)

func transposed(m [][]float32) [][]float32 {
	out := make([][]float32, len(m[0]))
	for i := range out {
		for j := range m {
			out[i] = append(out[i], m[j][i])
		}
	}
	return out
}

// grid is n×n points of c channels each: point (i,j) begins at data[at+i·row+j·col].
type grid struct {
	data         []float32
	at, row, col int
}

func (g *grid) ptr() unsafe.Pointer { return ptr(g.data, g.at) }

// channel is the grid from channel c on.
func (g *grid) channel(c int) *grid {
	return &grid{g.data, g.at + c, g.row, g.col}
}

type transformAsm func(dst, src unsafe.Pointer, rs, cs, rd, cd uintptr, c int, tmp, k unsafe.Pointer)

// transform is one of the maps src → T·src·Tᵀ, with add added to dst.
type transform struct {
	matrix     [][]float32
	add        bool
	avx512, av transformAsm
}

// apply transforms c channels, a multiple of 8. tmp holds 36 vectors. Grids go by address: copied, their fields would be read, two at
// a time, just after they were written one at a time, for which a core waits.
func (t *transform) apply(k *isa, dst, src *grid, c int, tmp []float32) {
	if k.vector {
		f := t.av
		if k.packs16 && c%16 == 0 {
			f = t.avx512
		}
		f(dst.ptr(), src.ptr(), uintptr(4*src.row), uintptr(4*src.col), uintptr(4*dst.row), uintptr(4*dst.col), c, ptr(tmp, 0), unsafe.Pointer(&winoConstants))
		return
	}
	m, n := len(t.matrix), len(t.matrix[0])
	for ch := range c {
		for i := range m { // tmp = T·src
			for b := range n {
				var s float32
				for k, f := range t.matrix[i] {
					s += f * src.data[src.at+k*src.row+b*src.col+ch]
				}
				tmp[i*n+b] = s
			}
		}
		for i := range m {
			for j := range m {
				var s float32
				for k, f := range t.matrix[j] {
					s += f * tmp[i*n+k]
				}
				out := &dst.data[dst.at+i*dst.row+j*dst.col+ch]
				if t.add {
					s += *out
				}
				*out = s
			}
		}
	}
}

// algorithm is the transforms of one pair of tile and kernel sizes.
type algorithm struct {
	m, kernel                                 int // outputs and taps along one axis
	input, output, grad, weight, write, accum transform
}

var (
	winoInput = transform{matrix: winoB, avx512: winoInputx512, av: winoInputx8}

	wino3 = algorithm{
		m: 4, kernel: 3, input: winoInput,
		output: transform{matrix: winoA4, avx512: winoOutput4x512, av: winoOutput4x8},
		grad:   transform{matrix: transposed(winoA4), avx512: winoGrad4x512, av: winoGrad4x8},
		weight: transform{matrix: winoG3, avx512: winoWeight3x512, av: winoWeight3x8},
		write:  transform{matrix: transposed(winoG3), avx512: winoWeightFresh3x512, av: winoWeightFresh3x8},
		accum:  transform{matrix: transposed(winoG3), add: true, avx512: winoWeightGrad3x512, av: winoWeightGrad3x8},
	}
	wino5 = algorithm{
		m: 2, kernel: 5, input: winoInput,
		output: transform{matrix: winoA2, avx512: winoOutput2x512, av: winoOutput2x8},
		grad:   transform{matrix: transposed(winoA2), avx512: winoGrad2x512, av: winoGrad2x8},
		weight: transform{matrix: winoG5, avx512: winoWeight5x512, av: winoWeight5x8},
		write:  transform{matrix: transposed(winoG5), avx512: winoWeightFresh5x512, av: winoWeightFresh5x8},
		accum:  transform{matrix: transposed(winoG5), add: true, avx512: winoWeightGrad5x512, av: winoWeightGrad5x8},
	}
)
