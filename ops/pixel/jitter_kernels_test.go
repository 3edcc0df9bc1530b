package pixel

import (
	"math/rand/v2"
	"testing"
)

// every colour of the cube, a plane of blue at a time.
func cube(p *Planar, blue int) {
	p.Reset(256, 256)
	for y := range 256 {
		r, g, b := p.pixels(y)
		for x := range 256 {
			r[x], g[x], b[x] = byte(x), byte(y), byte(blue)
		}
	}
}

// Jitter in vectors equals the plain functions, which equal Pillow, for colours of the whole cube and any width.
func TestJitterKernels(t *testing.T) {
	if !vectors() {
		t.Skip("this machine or build has no vector kernels")
	}
	step := 15
	if testing.Short() {
		step = 51
	}
	rng := rand.New(rand.NewPCG(9, 9))
	var p, want Planar
	for blue := 0; blue < 256; blue += step {
		shift := byte(rng.Uint32())
		cube(&p, blue)
		for y := range p.H {
			hueVector(&p, y, int(shift))
			r, g, b := p.pixels(y)
			for x := range r {
				h, s, v := toHSV(byte(x), byte(y), byte(blue))
				wr, wg, wb := fromHSV(h+shift, s, v)
				if r[x] != wr || g[x] != wg || b[x] != wb {
					t.Fatalf("hue of (%d, %d, %d) by %d is (%d, %d, %d), want (%d, %d, %d)", x, y, blue, shift, r[x], g[x], b[x], wr, wg, wb)
				}
			}
		}
		for _, level := range []int{-1, 0, int(rng.Uint32() & 255)} {
			f := float32(0.6 + 0.8*rng.Float64())
			cube(&p, blue)
			for y := range p.H {
				blendVector(&p, y, level, f)
				r, g, b := p.pixels(y)
				for x := range r {
					l := byte(level)
					if level < 0 {
						l = light(byte(x), byte(y), byte(blue))
					}
					if r[x] != blend(l, byte(x), f) || g[x] != blend(l, byte(y), f) || b[x] != blend(l, byte(blue), f) {
						t.Fatalf("(%d, %d, %d) from %d by %v is (%d, %d, %d)", x, y, blue, l, f, r[x], g[x], b[x])
					}
				}
			}
		}
	}
	for w := 1; w < 90; w++ {
		src := noise(rng, w, 1)
		p.Reset(w, 1)
		want.Reset(w, 1)
		for c := range src.C {
			copy(p.C[c], src.C[c])
			copy(want.C[c], src.C[c])
		}
		hueVector(&p, 0, 77)
		r, g, b := want.pixels(0)
		if lightSum(r, g, b) != lightSumGo(r, g, b) {
			t.Fatalf("sum of lightness of %d pixels", w)
		}
		for x := range r {
			h, s, v := toHSV(r[x], g[x], b[x])
			r[x], g[x], b[x] = fromHSV(h+77, s, v)
		}
		if !equal(&p, &want) {
			t.Fatalf("hue of %d pixels", w)
		}
	}
}
