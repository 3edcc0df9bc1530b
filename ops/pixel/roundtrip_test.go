package pixel

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// A linear space taken back by its inverse gives the colour again; every space keeps different colours apart.
func TestRoundTrip(t *testing.T) {
	linearSpaces := map[string]matrix{"YUV": yuv, "YIQ": yiq, "YPbPr": ypbpr, "YDbDr": ydbdr, "CIERGB": rgbcie}
	rapid.Check(t, func(t *rapid.T) {
		rgb := [3]byte{rapid.Byte().Draw(t, "r"), rapid.Byte().Draw(t, "g"), rapid.Byte().Draw(t, "b")}
		for name, m := range linearSpaces {
			s, err := LookupSpace(name)
			if err != nil {
				t.Fatal(err)
			}
			back := mul(inverse(m), s.Convert(rgb[0], rgb[1], rgb[2]))
			for c := range 3 {
				if math.Abs(255*back[c]-float64(rgb[c])) > 1e-6 {
					t.Fatalf("%s: %v comes back as %v", name, rgb, back)
				}
			}
		}
		lab, _ := LookupSpace("Lab")
		v := lab.Convert(rgb[0], rgb[1], rgb[2])
		if back := rgbOfLab(v); math.Abs(back[0]-float64(rgb[0])) > 0.01 || math.Abs(back[1]-float64(rgb[1])) > 0.01 || math.Abs(back[2]-float64(rgb[2])) > 0.01 {
			t.Fatalf("Lab: %v comes back as %v", rgb, back)
		}
	})
}

// rgbOfLab is the textbook inverse, written for this test alone.
func rgbOfLab(v [3]float64) (o [3]float64) {
	fy := (v[0] + 16) / 116
	f := [3]float64{fy + v[1]/500, fy, fy - v[2]/200}
	white := [3]float64{0.95047, 1, 1.08883}
	var xyz [3]float64
	for i, x := range f {
		if x > 6.0/29 {
			xyz[i] = white[i] * x * x * x
		} else {
			xyz[i] = white[i] * (x - 16.0/116) / 7.787
		}
	}
	for i, x := range mul(inverse(toXYZ), xyz) {
		if x > 0.0031308 {
			x = 1.055*math.Pow(x, 1/2.4) - 0.055
		} else {
			x *= 12.92
		}
		o[i] = 255 * x
	}
	return o
}
