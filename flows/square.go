package flows

import (
	"image"

	"golang.org/x/image/draw"
)

// square scales the middle square of an image to a side in pixels.
func square(img image.Image, side int) image.Image {
	b := img.Bounds()
	n := min(b.Dx(), b.Dy())
	x, y := b.Min.X+(b.Dx()-n)/2, b.Min.Y+(b.Dy()-n)/2
	out := image.NewRGBA(image.Rect(0, 0, side, side))
	draw.CatmullRom.Scale(out, out.Bounds(), img, image.Rect(x, y, x+n, y+n), draw.Src, nil)
	return out
}
