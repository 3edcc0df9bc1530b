package pixel_test

import (
	"testing"

	"github.com/contraflow/contraflow/ops/pixel"
)

// What is rendered and shown again is the picture, within one level.
func TestShow(t *testing.T) {
	var p, back pixel.Picture
	p.Reset(16, 16)
	for i := range p.Pix {
		p.Pix[i] = byte(i*i*31 + i*7)
	}
	for _, name := range pixel.SpaceNames() {
		if name == "LUV" || name == "HED" {
			continue
		}
		s, err := pixel.LookupSpace(name)
		if err != nil {
			t.Fatal(err)
		}
		if !s.Known {
			if s, err = s.Normalised([]float64{0.3, 0.2, 0.1}, []float64{0.5, 0.4, 0.3}); err != nil {
				t.Fatal(err)
			}
		}
		var planes [3][]float32
		for c := range planes {
			planes[c] = make([]float32, 256)
		}
		s.Render(planes, &p)
		s.Show(&back, 16, 16, planes)
		for i := range p.Pix {
			if d := int(p.Pix[i]) - int(back.Pix[i]); d < -2 || d > 2 {
				t.Fatalf("%s: byte %d is %d, shown as %d", name, i, p.Pix[i], back.Pix[i])
			}
		}
	}
}
