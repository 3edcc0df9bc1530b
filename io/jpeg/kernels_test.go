package jpeg

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// The kernels equal the plain loops, for every length and for coefficients that no encoder writes.
func TestKernels(t *testing.T) {
	if !vector() {
		t.Skip("this machine or build has no vector kernels")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	for n := 1; n < 100; n++ {
		cur, near := noise(n+64), noise(n+64)
		got, want := make([]byte, 2*n+64), make([]byte, 2*n+64)
		doubleBoth(got, cur, near, n)
		doubleBothGo(want, cur, near, n)
		if !bytes.Equal(got[:2*n], want[:2*n]) {
			t.Fatalf("doubleBoth of %d", n)
		}
		double(got, cur, n)
		doubleGo(want, cur, n)
		if !bytes.Equal(got[:2*n], want[:2*n]) {
			t.Fatalf("double of %d", n)
		}
	}
	for i := range 30000 {
		var a, b [64]int16
		var q [64]uint16
		most := []int{2, 40, 1000, 65536}[i%4]
		for k := range a {
			if rng.IntN(4) >= i%3 {
				a[k] = int16(rng.IntN(most) - most/2)
			}
			q[k] = uint16(1 + rng.IntN([]int{1, 16, 255, 65535}[i/4%4]))
		}
		switch i % 7 {
		case 0:
			clear(a[1:])
		case 1: // the first row alone
			clear(a[8:])
		}
		b = a
		got, want, dc := noise(8*20), []byte(nil), a[0]*int16(q[0])
		want = bytes.Clone(got)
		alone := bytes.Clone(got)
		idct(got, 20, &a, &q)
		idctGo(want, 20, &b, &q)
		if !bytes.Equal(got, want) || a != [64]int16{} || b != [64]int16{} {
			t.Fatalf("idct %d", i)
		}
		if flat(alone, 20, dc); i%7 == 0 && !bytes.Equal(alone, want) {
			t.Fatalf("flat %d of %d", i, dc)
		}
	}
}

// Every pair of chroma values, with every lightness in turn, converts as the plain formula does.
func TestConvert(t *testing.T) {
	const n = 256
	var y, cb, cr [n]byte
	var got, want [3][n]byte
	for u := range 256 {
		for v := range 256 {
			for i := range n {
				y[i], cb[i], cr[i] = byte(i), byte(u), byte(v+i&3)
			}
			convert(got[0][:], got[1][:], got[2][:], y[:], cb[:], cr[:], n)
			convertGo(want[0][:], want[1][:], want[2][:], y[:], cb[:], cr[:], n)
			if got != want {
				t.Fatalf("cb %d, cr %d", u, v)
			}
		}
	}
}
