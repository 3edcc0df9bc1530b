package jpeg

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // registered for whoever asks image for a header
	_ "image/png"
	"io"
	"strings"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"

	"github.com/contraflow/contraflow/ops/pixel"
)

// decodeOther decodes everything that is not JPEG.
func decodeOther(dst *pixel.Picture, data []byte) error {
	if len(data) == 0 {
		return errors.New("the file is empty")
	}
	if isPNM(data) {
		return decodePNM(dst, data)
	}
	cfg, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		if errors.Is(err, image.ErrFormat) {
			return errors.New("not an image of a known format")
		}
		return broken("header", err)
	}
	if err := checkSize(cfg.Width, cfg.Height, len(data)); err != nil {
		return err
	}
	img, tags, err := decodeImage(data, format, cfg.ColorModel)
	if err != nil {
		return err
	}
	if b := img.Bounds(); b.Dx() != cfg.Width || b.Dy() != cfg.Height {
		return fmt.Errorf("broken %s: %d×%d pixels, its header says %d×%d", format, b.Dx(), b.Dy(), cfg.Width, cfg.Height)
	}
	if format == "tiff" {
		unmultiply(img)
	}
	copyImage(dst, img)
	turn(dst, tags[tagOrientation])
	return nil
}

// pngEnd is the last chunk of every PNG.
const pngEnd = "\x00\x00\x00\x00IEND\xae\x42\x60\x82"

// decodeImage decodes with the package of a format, whose header promised the colour model. The tags are those of a TIFF; to turn the picture is left to the caller.
func decodeImage(data []byte, format string, model color.Model) (image.Image, tiffTags, error) {
	var tags tiffTags
	if format == "tiff" {
		tags = readTags(data)
		if err := tags.refuse(); err != nil {
			return nil, nil, err
		}
	}
	if format == "webp" && len(data) > 20 && string(data[12:16]) == "VP8X" && data[20]&2 != 0 {
		return nil, nil, errors.New("an animated webp: want a single picture")
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if format == "png" && errors.Is(err, io.ErrUnexpectedEOF) { // as Pillow does, do without the last chunk
		img, _, err = image.Decode(io.MultiReader(bytes.NewReader(data), strings.NewReader(pngEnd)))
	}
	if err != nil {
		return nil, nil, broken(format, err)
	}
	if p, ok := img.(*image.Paletted); ok {
		fillPalette(p.Palette, model)
	}
	if g, ok := img.(*image.NRGBA64); ok && model == color.Gray16Model { // one grey is transparent
		img = opaqueGrey(g)
	}
	tags.correct(img)
	return img, tags, nil
}

// broken tells a file that is damaged from one of a kind that its package does not know.
func broken(what string, err error) error {
	if strings.Contains(err.Error(), "unsupported") {
		return err
	}
	return fmt.Errorf("broken %s: %w", what, err)
}

// fillPalette gives the colours that a picture uses beyond the palette of its header a grey each, as Pillow does.
func fillPalette(p color.Palette, header color.Model) {
	if stored, ok := header.(color.Palette); ok {
		for i := len(stored); i < len(p); i++ {
			p[i] = color.RGBA{uint8(i), uint8(i), uint8(i), 255}
		}
	}
}

// opaqueGrey is grey of 16 bits without its transparency.
func opaqueGrey(src *image.NRGBA64) *image.Gray16 {
	dst := image.NewGray16(src.Rect)
	for i := 0; i < len(dst.Pix); i += 2 {
		copy(dst.Pix[i:i+2], src.Pix[4*i:])
	}
	return dst
}

// copyImage converts to RGB as Pillow does: transparency is dropped and not multiplied in, of 16 bits the upper eight are kept, but
// grey of 16 bits is cut off at 255.
func copyImage(dst *pixel.Picture, img image.Image) {
	b := img.Bounds()
	dst.Reset(b.Dx(), b.Dy())
	switch src := img.(type) {
	case *image.YCbCr:
		webpYCbCr(dst, src)
	case *image.NYCbCrA:
		webpYCbCr(dst, &src.YCbCr)
	case *image.NRGBA:
		every(dst, src.Pix, src.Stride, 4, 1)
	case *image.RGBA:
		every(dst, src.Pix, src.Stride, 4, 1)
	case *image.NRGBA64:
		every(dst, src.Pix, src.Stride, 8, 2)
	case *image.RGBA64:
		every(dst, src.Pix, src.Stride, 8, 2)
	case *image.Gray:
		every(dst, src.Pix, src.Stride, 1, 0)
	case *image.Gray16:
		for y := range dst.H {
			row, from := dst.Row(y), src.Pix[y*src.Stride:]
			for x := range dst.W {
				v := from[2*x+1]
				if from[2*x] != 0 {
					v = 255
				}
				row[3*x], row[3*x+1], row[3*x+2] = v, v, v
			}
		}
	case *image.Paletted:
		var table [256][3]byte
		for i, c := range src.Palette {
			table[i] = straight(c)
		}
		for y := range dst.H {
			row := dst.Row(y)
			for x, v := range src.Pix[y*src.Stride:][:dst.W] {
				copy(row[3*x:], table[v][:])
			}
		}
	default:
		for y := range dst.H {
			for x := range dst.W {
				c := straight(img.At(b.Min.X+x, b.Min.Y+y))
				copy(dst.Row(y)[3*x:], c[:])
			}
		}
	}
}

// every copies pixels of size bytes whose channels are step bytes apart.
func every(dst *pixel.Picture, pix []byte, stride, size, step int) {
	for y := range dst.H {
		row, src := dst.Row(y), pix[y*stride:]
		for x := range dst.W {
			row[3*x], row[3*x+1], row[3*x+2] = src[size*x], src[size*x+step], src[size*x+2*step]
		}
	}
}

// straight is a colour without its transparency.
func straight(c color.Color) [3]byte {
	switch c := c.(type) {
	case color.RGBA:
		return [3]byte{c.R, c.G, c.B}
	case color.NRGBA:
		return [3]byte{c.R, c.G, c.B}
	}
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	return [3]byte{n.R, n.G, n.B}
}

// webpYCbCr converts as libwebp does: studio levels, and chroma interpolated 9:3:3:1 within every two rows and columns.
func webpYCbCr(dst *pixel.Picture, src *image.YCbCr) {
	u, v := make([]int32, dst.W), make([]int32, dst.W)
	for y := range dst.H {
		chroma(u, src.Cb, src.CStride, dst.W, dst.H, y)
		chroma(v, src.Cr, src.CStride, dst.W, dst.H, y)
		row, luma := dst.Row(y), src.Y[y*src.YStride:]
		for x := range dst.W {
			l := int32(luma[x]) * 19077 >> 8
			row[3*x] = clip((l + v[x]*26149>>8 - 14234) >> 6)
			row[3*x+1] = clip((l - u[x]*6419>>8 - v[x]*13320>>8 + 8708) >> 6)
			row[3*x+2] = clip((l + u[x]*33050>>8 - 17685) >> 6)
		}
	}
}

// chroma interpolates one row.
func chroma(out []int32, plane []byte, stride, w, h, y int) {
	near := y / 2
	far := near - 1 + y&1*2
	if y == 0 {
		far = 0
	}
	if last := (h - 1) / 2; far > last {
		far = last
	}
	a, b := plane[near*stride:], plane[far*stride:]
	out[0] = (3*int32(a[0]) + int32(b[0]) + 2) >> 2
	for x := 1; x < w; x++ {
		i := (x + 1) / 2 // right of the two columns that the pixel lies between
		if i > (w-1)/2 { // the last column of an even width stands at the edge
			out[x] = (3*int32(a[i-1]) + int32(b[i-1]) + 2) >> 2
			continue
		}
		l, r, bl, br := int32(a[i-1]), int32(a[i]), int32(b[i-1]), int32(b[i])
		sum := l + r + bl + br + 8
		if x&1 == 1 { // nearer to the left
			out[x] = ((sum+2*(r+bl))>>3 + l) >> 1
		} else {
			out[x] = ((sum+2*(l+br))>>3 + r) >> 1
		}
	}
}
