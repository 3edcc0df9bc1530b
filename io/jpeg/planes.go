package jpeg

import (
	"bytes"
	"fmt"
	"image"
	"image/color"

	"github.com/contraflow/contraflow/ops/pixel"
)

// DecodePlanes decodes a PNG, or any format but JPEG with more than 8 bits, at its full depth: one plane for grey pictures and
// three for colour, 255 or 65535 being 1.
func (d *Decoder) DecodePlanes(dst *pixel.Planes, data []byte) error {
	cfg, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("not an image of a known format: %w", err)
	}
	if cfg.Width < 1 || cfg.Height < 1 || cfg.Width > MaxPixels/cfg.Height {
		return fmt.Errorf("%d×%d pixels: more than the %d that are decoded", cfg.Width, cfg.Height, MaxPixels)
	}
	img, tags, err := decodeImage(data, format, cfg.ColorModel)
	if err != nil {
		return err
	}
	b, orientation := img.Bounds(), tags[tagOrientation]
	w, h := b.Dx(), b.Dy()
	if dst.Reset(PlanesOf(cfg.ColorModel), h, w); lying(orientation) {
		dst.Reset(dst.C, w, h)
	}
	area := w * h
	for y := range h {
		for x := range w {
			tx, ty := turned(orientation, w, h, x, y)
			at := ty*dst.W + tx
			if dst.C == 1 {
				dst.Pix[at] = grey(img, b.Min.X+x, b.Min.Y+y)
				continue
			}
			c := color.NRGBA64Model.Convert(img.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA64)
			dst.Pix[at], dst.Pix[area+at], dst.Pix[2*area+at] = full(c.R), full(c.G), full(c.B)
		}
	}
	return nil
}

// PlanesOf is how many planes an image of a colour model has: one for grey, else three.
func PlanesOf(m color.Model) int {
	if m == color.GrayModel || m == color.Gray16Model {
		return 1
	}
	return 3
}

func grey(img image.Image, x, y int) float32 {
	switch g := img.(type) {
	case *image.Gray16:
		return full(g.Gray16At(x, y).Y)
	case *image.Gray:
		return full(uint16(g.GrayAt(x, y).Y) * 0x101)
	}
	return full(color.Gray16Model.Convert(img.At(x, y)).(color.Gray16).Y)
}

func full(v uint16) float32 { return float32(v) / 0xffff }

// BitsOf is the depth of a channel: 16, or 8.
func BitsOf(m color.Model) int {
	switch m {
	case color.Gray16Model, color.RGBA64Model, color.NRGBA64Model:
		return 16
	}
	return 8
}
