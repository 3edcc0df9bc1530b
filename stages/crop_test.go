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
