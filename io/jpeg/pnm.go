package jpeg

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/contraflow/contraflow/ops/pixel"
)

func isPNM(data []byte) bool {
	return bytes.HasPrefix(data, []byte("P5")) || bytes.HasPrefix(data, []byte("P6"))
}

// decodePNM reads binary PGM and PPM of up to 8 bits; a maximum below 255 is stretched, as Pillow does.
func decodePNM(dst *pixel.Picture, data []byte) error {
	channels := 3
	if data[1] == '5' {
		channels = 1
	}
	pix, head := data[2:], [3]int{}
	for i := range head {
		v, rest, ok := pnmNumber(pix)
		if !ok {
			return fmt.Errorf("broken %s header: want width, height and maximum", data[:2])
		}
		head[i], pix = v, rest
	}
	w, h, most := head[0], head[1], head[2]
	if len(pix) == 0 {
		return errors.New("truncated: the pixels are missing")
	}
	pix = pix[1:] // one white space
	if most < 1 || most > 255 {
		return fmt.Errorf("a PNM with maximum %d: want 8 bits", most)
	}
	if err := checkSize(w, h, len(data)); err != nil {
		return err
	}
	if len(pix) < w*h*channels {
		return fmt.Errorf("truncated: %d of %d bytes of pixels", len(pix), w*h*channels)
	}
	dst.Reset(w, h)
	if channels == 3 {
		copy(dst.Pix, pix)
	} else {
		every(dst, pix, w, 1, 0)
	}
	if most < 255 {
		for i, v := range dst.Pix {
			dst.Pix[i] = byte(min(math.RoundToEven(float64(v)/float64(most)*255), 255)) // as Python's round
		}
	}
	return nil
}

// pnmNumber reads a number after white space and comments.
func pnmNumber(b []byte) (v int, rest []byte, ok bool) {
	for len(b) > 0 {
		switch c := b[0]; {
		case c == ' ' || c >= '\t' && c <= '\r':
			b = b[1:]
			continue
		case c == '#':
			i := bytes.IndexByte(b, '\n')
			if i < 0 {
				return 0, nil, false
			}
			b = b[i:]
			continue
		}
		break
	}
	n := 0
	for n < len(b) && n < 10 && b[n] >= '0' && b[n] <= '9' {
		v = v*10 + int(b[n]-'0')
		n++
	}
	return v, b[n:], n > 0 && n < 10
}
