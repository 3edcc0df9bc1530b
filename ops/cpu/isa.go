package cpu

import (
	"fmt"
	"os"
	"strings"
	"unsafe"
)

// gemmArgs are the arguments of a micro-kernel; the assembly knows the offsets.
//
//	C[i][:nr] (+)= Σ_{o<ko} Σ_{k<ki} A(i, o, k) · B[o·ki+k][:nr]
//
// with A(i, o, k) at a + i·rsa + (o·ki+k)·csa + o·ja bytes, B packed, and C's rows ldc bytes apart.
type gemmArgs struct {
	ki, ko   int
	a        unsafe.Pointer
	rsa, csa uintptr
	ja       uintptr
	b, c     unsafe.Pointer
	ldc      uintptr
	acc      int

	// Every two steps fetch the lines of pf and pf+pair, then pf moves on by hop. They may lie past any buffer.
	pf, pair, hop uintptr
}

// fetch lets the kernel fetch a line a step from at on.
func (p *gemmArgs) fetch(at uintptr) { p.pf, p.pair, p.hop = at, 64, 128 }

// fetchEvery lets the kernel fetch a line a step, the lines being apart bytes apart.
func (p *gemmArgs) fetchEvery(at, apart uintptr) { p.pf, p.pair, p.hop = at, apart, 2*apart }

// fetchTwo lets the kernel fetch two runs apart bytes apart, two floats of each in two steps.
func (p *gemmArgs) fetchTwo(at, apart uintptr) { p.pf, p.pair, p.hop = at, apart, 8 }

// isa is a set of kernels that computes the same as the generic one.
type isa struct {
	name    string
	mr, nr  int
	gemm    []func(*gemmArgs) // by rows, nr columns
	narrow  []func(*gemmArgs) // by rows, nr/2 columns; nil without
	pairs   []func(*gemmArgs) // by rows, nr columns, of pairs of bfloat16; nil without
	vector  bool              // streaming kernels in assembly
	packs16 bool              // AVX-512 packing kernels
	ways    int               // lines of a set of the first-level cache
}

var generic = isa{name: "generic", mr: 4, nr: 8, gemm: genericGemm(4, gemmGo), pairs: genericGemm(4, gemmPairsGo)}

// panels is how many panels of nr channels c channels need.
func (k *isa) panels(c int) int { return (c + k.nr - 1) / k.nr }

// width is how many columns panel j of c channels has, those of the padding included: nr, or half of it in the last panel
// where the narrow kernels are enough.
func (k *isa) width(j, c int) int {
	if k.narrow != nil && c-j*k.nr <= k.nr/2 {
		return k.nr / 2
	}
	return k.nr
}

// padded is the sum of the widths of all panels of c channels.
func (k *isa) padded(c int) int {
	last := k.panels(c) - 1
	return last*k.nr + k.width(last, c)
}

// kernel is the micro-kernel for rows × width.
func (k *isa) kernel(rows, width int) func(*gemmArgs) {
	if width < k.nr {
		return k.narrow[rows]
	}
	return k.gemm[rows]
}

// pick is the one place that chooses: what the environment asks for, or the best the machine has.
func pick() (isa, error) {
	have := available()
	want := os.Getenv("CONTRAFLOW_ISA")
	if want == "" {
		return have[0], nil
	}
	var names []string
	for _, k := range have {
		if k.name == want {
			return k, nil
		}
		names = append(names, k.name)
	}
	return isa{}, fmt.Errorf("CONTRAFLOW_ISA=%s: this machine and build have %s", want, strings.Join(names, ", "))
}

// genericGemm is the micro-kernel in Go, for 1 … most rows.
func genericGemm(most int, f func(p *gemmArgs, rows int)) []func(*gemmArgs) {
	out := make([]func(*gemmArgs), most+1)
	for mr := 1; mr <= most; mr++ {
		out[mr] = func(p *gemmArgs) { f(p, mr) }
	}
	return out
}

// gemmGo sums in float64: it is what the other kernels are held to, and a plain float32 sum over a few thousand products is wrong
// by more than a fused one, enough to flip a ReLU of a deep network and with it every gradient below. It costs no time here.
func gemmGo(p *gemmArgs, mr int) {
	const nr = 8
	var acc [4][nr]float64
	at := uintptr(0)
	b := p.b
	for range p.ko {
		for range p.ki {
			row := (*[nr]float32)(b)
			for i := range mr {
				v := float64(*(*float32)(unsafe.Add(p.a, at+uintptr(i)*p.rsa)))
				c := &acc[i]
				for j := range nr {
					c[j] += v * float64(row[j])
				}
			}
			at += p.csa
			b = unsafe.Add(b, nr*4)
		}
		at += p.ja
	}
	p.put(&acc, mr)
}

// put writes, or adds, the sums of the micro-kernel in Go.
func (p *gemmArgs) put(acc *[4][8]float64, mr int) {
	for i := range mr {
		c := (*[8]float32)(unsafe.Add(p.c, uintptr(i)*p.ldc))
		for j := range c {
			if p.acc == 0 {
				c[j] = float32(acc[i][j])
			} else {
				c[j] = float32(float64(c[j]) + acc[i][j])
			}
		}
	}
}
