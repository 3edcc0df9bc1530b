package stages

import (
	"math"
	"math/rand/v2"

	"github.com/contraflow/contraflow/ops/pixel"
)

// CropRule draws the box of a RandomResizedCrop from a picture of w×h; low and high bound its share of the area.
type CropRule func(r *rand.Rand, w, h int, low, high float64) pixel.Box

// CropRules are the two generations of torchvision by the value of --crop_rule. They differ in how the aspect ratio is
// drawn and in what happens when no box fits.
var CropRules = map[string]CropRule{"torchvision-0.3": cropLog, "torchvision-0.2": cropUniform}

// cropLog draws the logarithm of the aspect ratio uniformly: torchvision from 0.3 on.
func cropLog(r *rand.Rand, w, h int, low, high float64) pixel.Box {
	area := float64(w) * float64(h)
	for range 10 {
		a := area * between(r, low, high)
		ratio := math.Exp(between(r, math.Log(3.0/4), math.Log(4.0/3)))
		cw, ch := int(math.RoundToEven(math.Sqrt(a*ratio))), int(math.RoundToEven(math.Sqrt(a/ratio)))
		if 0 < cw && cw <= w && 0 < ch && ch <= h {
			top := r.IntN(h - ch + 1)
			return pixel.Box{X: r.IntN(w - cw + 1), Y: top, W: cw, H: ch}
		}
	}
	cw, ch := w, h
	switch ratio := float64(w) / float64(h); {
	case ratio < 3.0/4:
		ch = int(math.RoundToEven(float64(w) / (3.0 / 4)))
	case ratio > 4.0/3:
		cw = int(math.RoundToEven(float64(h) * (4.0 / 3)))
	}
	return pixel.Box{X: (w - cw) / 2, Y: (h - ch) / 2, W: cw, H: ch}
}

// cropUniform draws the aspect ratio uniformly and turns the box at random: torchvision 0.2.
func cropUniform(r *rand.Rand, w, h int, low, high float64) pixel.Box {
	area := float64(w) * float64(h)
	for range 10 {
		a := area * between(r, low, high)
		ratio := between(r, 3.0/4, 4.0/3)
		cw, ch := int(math.RoundToEven(math.Sqrt(a*ratio))), int(math.RoundToEven(math.Sqrt(a/ratio)))
		if r.Float64() < 0.5 {
			cw, ch = ch, cw
		}
		if 0 < cw && cw <= w && 0 < ch && ch <= h {
			x := r.IntN(w - cw + 1)
			return pixel.Box{X: x, Y: r.IntN(h - ch + 1), W: cw, H: ch}
		}
	}
	side := min(w, h)
	return pixel.Box{X: (w - side) / 2, Y: (h - side) / 2, W: side, H: side}
}

// centre is the reference's evaluation crop: the short side scaled to size·256/224, then the middle cut out, rounding half
// to even. It returns the size to scale to and the box in the scaled picture.
func centre(w, h, size int) (sw, sh int, box pixel.Box) {
	short := size * 256 / 224
	sw, sh = short, short
	if w < h {
		sh = int(float64(short) * float64(h) / float64(w))
	} else {
		sw = int(float64(short) * float64(w) / float64(h))
	}
	half := func(n int) int { return int(math.RoundToEven(float64(n-size) / 2)) }
	return sw, sh, pixel.Box{X: half(sw), Y: half(sh), W: size, H: size}
}
