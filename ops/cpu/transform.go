package cpu

import "unsafe"

// winoConstants are broadcast by the assembly, which knows their places.
var winoConstants = [7]float32{4, 5, 8, 1.0 / 6, 1.0 / 12, 1.0 / 24, 1.0 / 4}

// The matrices of Winograd's F(4×4,3×3) (Lavin and Gray, arXiv:1509.09308): Y = Aᵀ[(G·W·Gᵀ)∘(Bᵀ·X·B)]A.
var (
	winoB  = [][]float32{{4, 0, -5, 0, 1, 0}, {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0}, {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}}
	winoA  = [][]float32{{1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}}
	winoG  = [][]float32{{1. / 4, 0, 0}, {-1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6}, {1. / 24, 1. / 12, 1. / 6}, {1. / 24, -1. / 12, 1. / 6}, {0, 0, 1}}
	winoAT = transposed(winoA)
	winoGT = transposed(winoG)
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

func (g grid) ptr() unsafe.Pointer { return ptr(g.data, g.at) }

// Kinds of transform, with the assembly's signature.
type transform struct {
	matrix [][]float32
	add    bool
	asm    func(dst, src unsafe.Pointer, rs, cs, ds uintptr, c int, tmp, k unsafe.Pointer)
}

// apply is dst = T·src·Tᵀ, or dst += with add, channel by channel; c is a multiple of 8. Points of dst lie in row order, dst.col
// apart; only the transform to pixels has rows of its own.
func (t *transform) apply(vector bool, dst, src grid, c int, tmp []float32) {
	if vector {
		if t.asm != nil {
			t.asm(dst.ptr(), src.ptr(), uintptr(4*src.row), uintptr(4*src.col), uintptr(4*dst.col), c, ptr(tmp, 0), unsafe.Pointer(&winoConstants))
		} else {
			winoOutputAsm(dst.ptr(), src.ptr(), uintptr(4*src.row), uintptr(4*src.col), uintptr(4*dst.col), c, ptr(tmp, 0), unsafe.Pointer(&winoConstants), uintptr(4*dst.row))
		}
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

// The transforms. That of the products to pixels has an assembly of another signature.
var (
	winoInput      = transform{matrix: winoB, asm: winoInputAsm}
	winoOutput     = transform{matrix: winoA}
	winoGrad       = transform{matrix: winoAT, asm: winoGradAsm}
	winoWeight     = transform{matrix: winoG, asm: winoWeightAsm}
	winoWeightGrad = transform{matrix: winoGT, add: true, asm: winoWeightGradAsm}
)
