package jpeg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"

	"github.com/contraflow/contraflow/ops/pixel"
)

// The tags of a TIFF that golang.org/x/image/tiff passes over, altogether or for some kinds.
const (
	tagCompression     = 259
	tagPhotometric     = 262
	tagFillOrder       = 266
	tagOrientation     = 274
	tagSamplesPerPixel = 277
	tagPlanarConfig    = 284
)

// tiffTags are the first values of the tags of a TIFF's first picture. Another format has none.
type tiffTags map[uint16]uint32

// readTags reads tags of one value: the value stands in the tag itself.
func readTags(data []byte) tiffTags {
	var order binary.ByteOrder = binary.LittleEndian
	if data[0] == 'M' {
		order = binary.BigEndian
	}
	at := uint64(order.Uint32(data[4:]))
	if at+2 > uint64(len(data)) {
		return nil
	}
	tags := tiffTags{}
	entries := data[at+2:]
	for range order.Uint16(data[at:]) {
		if len(entries) < 12 {
			break
		}
		tag := order.Uint16(entries)
		switch order.Uint16(entries[2:]) {
		case 1:
			tags[tag] = uint32(entries[8])
		case 3:
			tags[tag] = uint32(order.Uint16(entries[8:]))
		case 4:
			tags[tag] = order.Uint32(entries[8:])
		}
		entries = entries[12:]
	}
	return tags
}

// ccitt says whether the picture is a fax.
func (t tiffTags) ccitt() bool { return t[tagCompression] == 3 || t[tagCompression] == 4 }

// refuse names what would come out wrong.
func (t tiffTags) refuse() error {
	switch {
	case t[tagPlanarConfig] == 2 && t[tagSamplesPerPixel] > 1:
		return errors.New("a tiff whose channels lie in planes: want them interleaved")
	case t[tagFillOrder] == 2 && !t.ccitt():
		return errors.New("a tiff whose bytes begin with their lowest bit: want the highest first")
	}
	return nil
}

// correct inverts a fax whose black is zero, of which the package takes white for zero.
func (t tiffTags) correct(img image.Image) {
	if g, ok := img.(*image.Gray); ok && t.ccitt() && t[tagPhotometric] == 1 {
		for i := range g.Pix {
			g.Pix[i] = ^g.Pix[i]
		}
	}
}

// unmultiply divides the colours of a picture by its transparency, in eight bits as Pillow does. Pictures without it stay as they are.
func unmultiply(img image.Image) {
	pix, size, step := []byte(nil), 4, 1
	switch src := img.(type) {
	case *image.RGBA:
		pix = src.Pix
	case *image.RGBA64:
		pix, size, step = src.Pix, 8, 2
	}
	for ; len(pix) > 0; pix = pix[size:] {
		alpha := int(pix[3*step])
		for c := range 3 {
			v := &pix[c*step]
			switch alpha {
			case 0:
				*v = 0
			case 255:
			default:
				*v = byte(min(int(*v)*255/alpha, 255))
			}
		}
	}
}

// turned is where an orientation puts the pixel (x, y) of a picture of w×h.
func turned(orientation uint32, w, h, x, y int) (int, int) {
	switch orientation {
	case 2, 3, 7, 8:
		x = w - 1 - x
	}
	switch orientation {
	case 3, 4, 6, 7:
		y = h - 1 - y
	}
	if lying(orientation) {
		return y, x
	}
	return x, y
}

// lying says whether an orientation exchanges width and height.
func lying(orientation uint32) bool { return orientation >= 5 && orientation <= 8 }

// turn applies an orientation.
func turn(p *pixel.Picture, orientation uint32) {
	if orientation < 2 || orientation > 8 {
		return
	}
	w, h, src := p.W, p.H, bytes.Clone(p.Pix)
	if lying(orientation) {
		p.Reset(h, w)
	}
	for y := range h {
		for x := range w {
			tx, ty := turned(orientation, w, h, x, y)
			copy(p.Row(ty)[3*tx:3*tx+3], src[3*(y*w+x):])
		}
	}
}
