package stages

import (
	"testing"

	"github.com/contraflow/contraflow/ops/pixel"
)

// The evaluation crop is torchvision's Resize(256/224·size) and CenterCrop(size), in pixels.
func TestCentre(t *testing.T) {
	for _, c := range []struct {
		w, h, size, sw, sh int
		x, y               int
	}{
		{500, 375, 224, 341, 256, 58, 16},
		{375, 500, 224, 256, 341, 16, 58},
		{300, 300, 224, 256, 256, 16, 16},
		{100, 37, 32, 97, 36, 32, 2}, // 32.5 is rounded to even
		{37, 101, 32, 36, 98, 2, 33},
	} {
		sw, sh, box := centre(c.w, c.h, c.size)
		if want := (pixel.Box{X: c.x, Y: c.y, W: c.size, H: c.size}); sw != c.sw || sh != c.sh || box != want {
			t.Errorf("of %d×%d: scaled to %d×%d, box %v, want %d×%d, %v", c.w, c.h, sw, sh, box, c.sw, c.sh, want)
		}
	}
}

// Where no box fits, the whole picture is taken, cut in its centre to a shape that is allowed: torchvision 0.2 takes a square.
func TestCropsThatDoNotFit(t *testing.T) {
	for _, c := range []struct{ w, h, x, y, cw, ch, sx, sy, side int }{
		{300, 100, 83, 0, 133, 100, 100, 0, 100},
		{90, 250, 0, 65, 90, 120, 0, 80, 90},
		{100, 110, 0, 0, 100, 110, 0, 5, 100},
	} {
		r := Draw(1, 0, 0, PurposeCrop)
		if got, want := cropLog(r, c.w, c.h, 9, 9), (pixel.Box{X: c.x, Y: c.y, W: c.cw, H: c.ch}); got != want {
			t.Errorf("torchvision 0.3, %d×%d: %v, want %v", c.w, c.h, got, want)
		}
		if got, want := cropUniform(r, c.w, c.h, 9, 9), (pixel.Box{X: c.sx, Y: c.sy, W: c.side, H: c.side}); got != want {
			t.Errorf("torchvision 0.2, %d×%d: %v, want %v", c.w, c.h, got, want)
		}
	}
}
