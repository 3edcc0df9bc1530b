package report

import (
	"fmt"
	"image"
	"image/color"
	"math"
)

// Filters lays the kernels of a convolution [out,in,k,k] out as a picture, 3 pixels a weight. One input channel is grey; two are the
// a and b of Lab at one lightness, so that a filter shows the colours it looks for; three are red, green and blue. Every filter is
// scaled to its largest weight, with zero in the middle.
func Filters(w []float32, out, in, k int) (image.Image, error) {
	if len(w) != out*in*k*k || in < 1 || in > 3 {
		return nil, fmt.Errorf("report: %d weights are not %d filters of %d×%d×%d with 1 to 3 channels", len(w), out, in, k, k)
	}
	const zoom, gap = 3, 3
	columns := int(math.Ceil(math.Sqrt(float64(out) * 1.6)))
	rows := (out + columns - 1) / columns
	cell := k*zoom + gap
	img := image.NewRGBA(image.Rect(0, 0, columns*cell+gap, rows*cell+gap))
	for i := range img.Pix {
		img.Pix[i] = 0x80
		if i%4 == 3 {
			img.Pix[i] = 0xff
		}
	}
	for o := range out {
		f := w[o*in*k*k:][:in*k*k]
		most := float32(1e-12)
		for _, v := range f {
			most = max(most, float32(math.Abs(float64(v))))
		}
		x0, y0 := gap+(o%columns)*cell, gap+(o/columns)*cell
		for y := range k {
			for x := range k {
				var v [3]float64
				for c := range in {
					v[c] = float64(f[(c*k+y)*k+x] / most)
				}
				colour := filterColour(v, in)
				for dy := range zoom {
					for dx := range zoom {
						img.Set(x0+x*zoom+dx, y0+y*zoom+dy, colour)
					}
				}
			}
		}
	}
	return img, nil
}

func filterColour(v [3]float64, in int) color.Color {
	level := func(x float64) uint8 { return uint8(math.Round(127.5 + 127.5*min(max(x, -1), 1))) }
	switch in {
	case 1:
		return color.Gray{level(v[0])}
	case 2:
		return labColour(62, 70*v[0], 70*v[1])
	}
	return color.RGBA{level(v[0]), level(v[1]), level(v[2]), 255}
}

// labColour is CIE Lab (D65) in sRGB, cut to what that can show.
func labColour(l, a, b float64) color.Color {
	f := func(t float64) float64 {
		if t > 6.0/29 {
			return t * t * t
		}
		return 3 * (6.0 / 29) * (6.0 / 29) * (t - 4.0/29)
	}
	y := (l + 16) / 116
	x, z := 0.95047*f(y+a/500), 1.08883*f(y-b/200)
	y = f(y)
	gamma := func(c float64) uint8 {
		if c <= 0.0031308 {
			c *= 12.92
		} else {
			c = 1.055*math.Pow(c, 1/2.4) - 0.055
		}
		return uint8(math.Round(255 * min(max(c, 0), 1)))
	}
	return color.RGBA{gamma(3.2406*x - 1.5372*y - 0.4986*z), gamma(-0.9689*x + 1.8758*y + 0.0415*z), gamma(0.0557*x - 0.2040*y + 1.0570*z), 255}
}
