package pixel

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"
)

// What pictures are computed with has the same bits on every architecture, those of amd64: arm64 fuses a product and a sum that are
// not written apart. Spaces that take powers or logarithms are left out before their float64 is rounded, for Go's own differ.
func TestPortable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var weights []int32
	for in := 1; in <= 700; in += 11 {
		for _, out := range []int{1, 3, 32, 96, 100, 224, 331} {
			x := newTaps(in, out)
			weights = append(weights, x.weight...)
			for i := range x.first {
				weights = append(weights, int32(x.first[i]), int32(x.count[i]))
			}
		}
	}
	var depth, scaled Planes
	depth.Reset(1, 41, 67)
	for i := range depth.Pix {
		depth.Pix[i] = rng.Float32()
	}
	depth.Resize(&scaled, Box{X: 1, Y: 2, W: 60, H: 38}, 32, 29)
	var colours [1000][3]byte
	for i := range colours {
		colours[i] = [3]byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())}
	}
	var linear [][3]float64
	for _, name := range []string{"RGB", "YCbCr", "YDbDr", "YUV", "YPbPr", "YIQ", "CIERGB", "HSV"} {
		for _, c := range colours {
			linear = append(linear, spaces[name].Convert(c[0], c[1], c[2]))
		}
	}
	lab := spaces["Lab"]
	constants := lab.labConstants()
	var rendered [3][]float32
	picture := Picture{W: len(colours), H: 1}
	for _, c := range colours {
		picture.Pix = append(picture.Pix, c[:]...)
	}
	for k := range rendered {
		rendered[k] = make([]float32, len(colours))
	}
	lab.Render(rendered, &picture)
	for _, c := range []struct {
		what string
		data any
		want uint32
	}{
		{"the weights of resizes", weights, 0xb56c2a84},
		{"planes of floats, resized", scaled.Pix, 0x7353b29c},
		{"linear colour spaces", linear, 0xe7c09c43},
		{"levels of sRGB as light", linearised()[:], 0x54a24988},
		{"the constants of Lab", constants, 0x8cc88d37},
		{"Lab", slices.Concat(rendered[:]...), 0x389e8b42},
	} {
		h := crc32.NewIEEE()
		if err := binary.Write(h, binary.LittleEndian, c.data); err != nil {
			t.Fatal(err)
		}
		if h.Sum32() != c.want {
			t.Errorf("%s: %#08x, want %#08x", c.what, h.Sum32(), c.want)
		}
	}
}
