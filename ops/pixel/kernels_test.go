package pixel

import (
	"math/rand/v2"
	"testing"
)

// noise is a planar picture of random bytes.
func noise(rng *rand.Rand, w, h int) *Planar {
	p := &Planar{}
	p.Reset(w, h)
	for c := range p.C {
		for i := range p.C[c] {
			p.C[c][i] = byte(rng.Uint32())
		}
	}
	return p
}

func equal(a, b *Planar) bool {
	var x, y Picture
	a.Join(&x)
	b.Join(&y)
	return a.W == b.W && a.H == b.H && string(x.Pix) == string(y.Pix)
}

// The vector kernels equal the plain loops at every width, with boxes at the edges, mirrored and not, up and down.
func TestKernels(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 600 {
		w, h := 1+rng.IntN(150), 1+rng.IntN(40)
		src := noise(rng, w, h)
		box := Box{W: 1 + rng.IntN(w), H: 1 + rng.IntN(h)}
		box.X, box.Y = rng.IntN(w-box.W+1), rng.IntN(h-box.H+1)
		ow, oh := 1+rng.IntN(80), 1+rng.IntN(60)
		var got, want, mid, turned Planar
		got.Reset(ow, box.H)
		want.Reset(ow, box.H)
		for _, m := range []bool{false, true} {
			taps := tapsOf(tapsKey{box.W, ow, m})
			across(&got, src, box, taps)
			acrossGo(&want, src, box, taps)
			if !equal(&got, &want) {
				t.Fatalf("across %d: %+v to %d, mirrored %v", i, box, ow, m)
			}
		}
		taps := tapsFor(box.H, oh)
		mid.Reset(w, oh)
		turned.Reset(w, oh)
		for c := range src.C {
			for y := range oh {
				rows := src.C[c][(box.Y+taps.first[y])*src.Stride:]
				weight := taps.weight[y*taps.width:][:taps.count[y]]
				down(mid.Row(c, y), rows, src.Stride, weight, w)
				downGo(turned.Row(c, y), rows, src.Stride, weight, w)
			}
		}
		if !equal(&mid, &turned) {
			t.Fatalf("down %d: %+v to %d", i, box, oh)
		}
		pix := make([]byte, 3*w)
		back := noise(rng, w, 1)
		interleaveGo(pix, src.Row(0, 0), src.Row(1, 0), src.Row(2, 0), w)
		deinterleave(back.Row(0, 0), back.Row(1, 0), back.Row(2, 0), pix, w)
		first := &Planar{}
		first.Reset(w, 1)
		for c := range first.C {
			copy(first.C[c], src.Row(c, 0))
		}
		joined := make([]byte, 3*w)
		interleave(joined, back.Row(0, 0), back.Row(1, 0), back.Row(2, 0), w)
		if !equal(back, first) || string(joined) != string(pix) {
			t.Fatalf("channels of %d pixels", w)
		}
	}
}

// Lab has the same bits whoever computes it, for every colour of a lattice and any number of pixels.
func TestLabBits(t *testing.T) {
	s := spaces["Lab"]
	c := s.labConstants()
	rng := rand.New(rand.NewPCG(5, 6))
	for n := 1; n < 300; n++ {
		src := noise(rng, n, 1)
		var got, want [3][]float32
		for k := range got {
			got[k], want[k] = make([]float32, n), make([]float32, n)
		}
		lab8(got, src.C[0][:n], src.C[1][:n], src.C[2][:n], &c)
		labGo(want, src.C[0][:n], src.C[1][:n], src.C[2][:n], &c)
		for k := range got {
			for i := range got[k] {
				if got[k][i] != want[k][i] {
					t.Fatalf("%d pixels: channel %d of %d: %v, want %v", n, k, i, got[k][i], want[k][i])
				}
			}
		}
	}
}

// A mirrored resize is a resize, mirrored; weights that are kept do not grow without end.
func TestMirror(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	var r Resizer
	for range 200 {
		src := noise(rng, 1+rng.IntN(60), 1+rng.IntN(60))
		box := Box{W: src.W, H: src.H}
		w, h := 1+rng.IntN(70), 1+rng.IntN(70)
		if rng.IntN(4) == 0 {
			w = src.W
		}
		if rng.IntN(4) == 0 {
			h = src.H
		}
		var a, b Planar
		r.Scale(&a, src, box, w, h, true)
		r.Scale(&b, src, box, w, h, false)
		for c := range a.C {
			for y := range h {
				for x := range w {
					if a.Row(c, y)[x] != b.Row(c, y)[w-1-x] {
						t.Fatalf("%d×%d to %d×%d at %d,%d", src.W, src.H, w, h, x, y)
					}
				}
			}
		}
	}
	for in := 1; in < 40000; in += 97 {
		tapsFor(in, 224)
	}
	if held := tapsHeld.Load(); held > tapsRoom {
		t.Errorf("%d bytes of weights are kept", held)
	}
}
