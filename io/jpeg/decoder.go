package jpeg

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	stdjpeg "image/jpeg" // also registers the format
	_ "image/png"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"

	"github.com/contraflow/contraflow/ops/pixel"
)

// MaxPixels bounds what is decoded: a header that promises more is refused before anything is allocated.
const MaxPixels = 1 << 28

// Decoder turns encoded bytes into pictures. It is safe for concurrent use.
type Decoder struct{ turbo *turbo }

// Open chooses a decoder: "turbo" wants libjpeg-turbo and fails without it, "go" decodes in Go, "auto" takes turbo when it
// is there.
func Open(mode string) (*Decoder, error) {
	switch mode {
	case "go":
		return &Decoder{}, nil
	case "auto", "turbo", "":
		t, err := loadTurbo()
		if err != nil && mode == "turbo" {
			return nil, fmt.Errorf("--decoder turbo: %w: install libjpeg-turbo (Debian: apt-get install libturbojpeg0) or use --decoder go", err)
		}
		return &Decoder{turbo: t}, nil
	}
	return nil, fmt.Errorf("--decoder %q: choose auto, turbo or go", mode)
}

// Name is "turbo" or "go".
func (d *Decoder) Name() string {
	if d.turbo != nil {
		return "turbo"
	}
	return "go"
}

// Decode decodes data, of any known format, into dst as RGB. Grey pictures are spread over the three channels, CMYK is
// converted, transparency is dropped.
func (d *Decoder) Decode(dst *pixel.Picture, data []byte) error {
	if len(data) == 0 {
		return errors.New("the file is empty")
	}
	if bytes.HasPrefix(data, []byte("P5")) || bytes.HasPrefix(data, []byte("P6")) {
		return decodePNM(dst, data)
	}
	cfg, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		if errors.Is(err, image.ErrFormat) {
			return errors.New("not an image of a known format")
		}
		return fmt.Errorf("broken header: %w", err)
	}
	if cfg.Width < 1 || cfg.Height < 1 || cfg.Width > MaxPixels/cfg.Height {
		return fmt.Errorf("%d×%d pixels: more than the %d that are decoded", cfg.Width, cfg.Height, MaxPixels)
	}
	if format == "jpeg" && d.turbo != nil && cfg.ColorModel != color.CMYKModel {
		return d.turbo.decode(dst, data, cfg.Width, cfg.Height)
	}
	var img image.Image
	if format == "jpeg" {
		img, err = stdjpeg.Decode(bytes.NewReader(data))
	} else {
		img, _, err = image.Decode(bytes.NewReader(data))
	}
	if err != nil {
		return fmt.Errorf("broken %s: %w", format, err)
	}
	copyImage(dst, img)
	return nil
}

// copyImage converts any image to RGB, without its transparency.
func copyImage(dst *pixel.Picture, img image.Image) {
	b := img.Bounds()
	dst.Reset(b.Dx(), b.Dy())
	switch src := img.(type) {
	case *image.YCbCr:
		for y := range dst.H {
			row := dst.Row(y)
			for x := range dst.W {
				yi, ci := src.YOffset(b.Min.X+x, b.Min.Y+y), src.COffset(b.Min.X+x, b.Min.Y+y)
				row[3*x], row[3*x+1], row[3*x+2] = color.YCbCrToRGB(src.Y[yi], src.Cb[ci], src.Cr[ci])
			}
		}
	case *image.NRGBA:
		dropAlpha(dst, src.Pix[src.PixOffset(b.Min.X, b.Min.Y):], src.Stride)
	case *image.RGBA:
		if src.Opaque() {
			dropAlpha(dst, src.Pix[src.PixOffset(b.Min.X, b.Min.Y):], src.Stride)
			return
		}
		slow(dst, img)
	default:
		slow(dst, img)
	}
}

func dropAlpha(dst *pixel.Picture, pix []byte, stride int) {
	for y := range dst.H {
		row, src := dst.Row(y), pix[y*stride:]
		for x := range dst.W {
			copy(row[3*x:3*x+3], src[4*x:])
		}
	}
}

func slow(dst *pixel.Picture, img image.Image) {
	b := img.Bounds()
	n := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(n, n.Rect, img, b.Min, draw.Src)
	dropAlpha(dst, n.Pix, n.Stride)
}

// decodePNM reads binary PGM and PPM of 8 bits.
func decodePNM(dst *pixel.Picture, data []byte) error {
	var kind string
	var w, h, most int
	r := bytes.NewReader(data)
	if _, err := fmt.Fscanf(r, "%s\n%d %d\n%d", &kind, &w, &h, &most); err != nil {
		return fmt.Errorf("broken %s header: %w", data[:2], err)
	}
	if _, err := r.ReadByte(); err != nil {
		return errors.New("the pixels are missing")
	}
	if most != 255 || w < 1 || h < 1 || w > MaxPixels/h {
		return fmt.Errorf("a PNM of %d×%d with maximum %d: want 8 bits and at most %d pixels", w, h, most, MaxPixels)
	}
	pix := data[len(data)-r.Len():]
	channels := 3
	if kind == "P5" {
		channels = 1
	}
	if len(pix) < w*h*channels {
		return fmt.Errorf("truncated: %d of %d bytes of pixels", len(pix), w*h*channels)
	}
	dst.Reset(w, h)
	if channels == 3 {
		copy(dst.Pix, pix)
		return nil
	}
	for i := range w * h {
		dst.Pix[3*i], dst.Pix[3*i+1], dst.Pix[3*i+2] = pix[i], pix[i], pix[i]
	}
	return nil
}
