package jpeg

import (
	"errors"
	"fmt"

	"github.com/contraflow/contraflow/ops/pixel"
)

// scan is a SOS header: which components it has, and for a progressive file which part of them.
type scan struct {
	comps      []*component
	start, end int // coefficients
	high, low  uint
}

// maxBlocks is how many blocks an MCU may have, by the standard.
const maxBlocks = 10

func (r *reader) scanHeader(body []byte) (s scan, err error) {
	if len(body) < 1 || len(body) != 4+2*int(body[0]) || body[0] < 1 || body[0] > 4 {
		return s, errors.New("broken jpeg: a scan header of the wrong size")
	}
	n := int(body[0])
	s.comps = r.scanned[:0]
	for i := range n {
		id, tables := body[1+2*i], body[2+2*i]
		var c *component
		for k := i; k < len(r.comps) && c == nil; k++ { // as libjpeg: in the order of the frame, which tells channels of one name apart
			if r.comps[k].id == id {
				c = &r.comps[k]
			}
		}
		if c == nil {
			return s, fmt.Errorf("broken jpeg: a scan of channel %d, which there is not", id)
		}
		for _, other := range s.comps {
			if other == c {
				return s, errors.New("broken jpeg: a scan that has a channel twice")
			}
		}
		c.dc, c.ac = int(tables>>4), int(tables&15)
		s.comps = append(s.comps, c)
	}
	s.start, s.end = int(body[1+2*n]), int(body[2+2*n])
	s.high, s.low = uint(body[3+2*n]>>4), uint(body[3+2*n]&15)
	if !r.progressive {
		s.start, s.end, s.high, s.low = 0, 63, 0, 0
	}
	if s.start > s.end || s.end > 63 || s.low > 13 || s.high > 0 && s.high != s.low+1 || s.start == 0 && s.end != 0 && r.progressive || s.start > 0 && n > 1 {
		return s, fmt.Errorf("broken jpeg: a scan of coefficients %d to %d, bits %d and %d", s.start, s.end, s.high, s.low)
	}
	if b := s.blocks(); b > maxBlocks {
		return s, fmt.Errorf("broken jpeg: a scan of %d blocks at once: want at most %d", b, maxBlocks)
	}
	return s, nil
}

// hasTables reports the tables that a scan lacks.
func (r *reader) hasTables(s scan) error {
	for _, c := range s.comps {
		if !r.progressive && !(r.hasDC[c.dc] && r.hasAC[c.ac]) {
			if err := r.standard(); err != nil {
				return err
			}
		}
		if !r.hasQuant[c.quant] || s.start == 0 && s.high == 0 && !r.hasDC[c.dc] || s.end > 0 && !r.hasAC[c.ac] {
			return errors.New("broken jpeg: a scan whose tables are missing")
		}
		if s.start == 0 && s.high == 0 && r.dc[c.dc].bad || s.end > 0 && r.ac[c.ac].bad {
			return errors.New("broken jpeg: a scan with a Huffman table that has too many codes or a wrong one")
		}
	}
	return nil
}

// mcus is how many MCUs a scan has; a channel alone has no more than its blocks.
func (r *reader) mcus(s scan) (x, y int) {
	if len(s.comps) == 1 {
		return s.comps[0].bw, s.comps[0].bh
	}
	return ceil(r.w, 8*r.hMax), ceil(r.h, 8*r.vMax)
}

// blocks is how many blocks an MCU has.
func (s scan) blocks() (n int) {
	if len(s.comps) == 1 {
		return 1
	}
	for _, c := range s.comps {
		n += c.h * c.v
	}
	return n
}

// decode reads the scans. Afterwards the planes of the components hold what box needs.
func (r *reader) decode(box pixel.Box) error {
	r.plan(box)
	seen := map[*component]bool{}
	done, single := false, false // all of a sequential picture is there, in one scan
	for {
		m, body, err := r.marker()
		if !known(m) {
			return errUnknown
		}
		if m >= markSOF0 && m <= 0xcf && m != markDHT && m != markDAC {
			return errors.New("broken jpeg: two frames")
		}
		if done && m != 0 && errors.Is(err, errTruncated) {
			body, err = r.filled(), nil
		}
		if m == markEOI || done && m == 0 { // for libjpeg the data end in an end marker
			break
		}
		if err != nil {
			return err
		}
		if m != markSOS {
			if err := r.tables(m, body); err != nil {
				return err
			}
			continue
		}
		if done && single {
			return errors.New("broken jpeg: a scan behind the last one")
		}
		if done {
			break
		}
		if len(seen) == 0 {
			r.colours = r.model()
		}
		s, err := r.scanHeader(body)
		if err != nil {
			return err
		}
		if err := r.hasTables(s); err != nil {
			return err
		}
		for _, c := range s.comps {
			seen[c] = true
		}
		if err := r.entropy(s, len(seen) == len(r.comps) && !r.endless); err != nil {
			return err
		}
		if !r.progressive && len(seen) == len(r.comps) {
			if r.endless && r.cutOff() {
				return errTruncated
			}
			done, single = true, len(s.comps) == len(r.comps) // what libjpeg refuses behind it is still to be seen
		}
	}
	if len(seen) < len(r.comps) {
		return errors.New("broken jpeg: a channel is missing")
	}
	r.transformAll()
	return nil
}

// cutOff says whether the last scan lacks bytes. Where no marker stops it libjpeg, and so Pillow, wants to read ahead.
func (r *reader) cutOff() bool {
	ahead := 0
	if r.pos == len(r.data) {
		ahead = 9
	}
	return r.bits.used() > 8*(r.bits.end-ahead)
}

// plan sizes the planes: the blocks that hold the box and, where chroma is interpolated, one sample around it.
func (r *reader) plan(box pixel.Box) {
	for i := range r.comps {
		c := &r.comps[i]
		fx, fy := r.hMax/c.h, r.vMax/c.v
		mx, my := 0, 0
		if fx > 1 || fy > 1 {
			mx, my = 1, 1
		}
		left, right := max(box.X/fx-mx, 0), min((box.X+box.W-1)/fx+1+mx, c.w)
		top, bottom := max(box.Y/fy-my, 0), min((box.Y+box.H-1)/fy+1+my, c.rows)
		c.x0, c.x1, c.y0, c.y1 = left/8, ceil(right, 8), top/8, ceil(bottom, 8)
		c.pitch = (c.x1-c.x0)*8 + 2*planePad
		c.plane = sized(c.plane, c.pitch*(c.y1-c.y0)*8+planePad)
		if r.progressive {
			n := c.stride * ceil(r.h, 8*r.vMax) * c.v * 64
			c.coef = sized(c.coef, n)
			clear(c.coef)
		}
	}
}

// planePad is room at both ends of a plane's rows, for copies of the edge and for vectors that read past it.
const planePad = 32

func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// entropy reads the entropy-coded part of a scan. final says that nothing that matters comes after it.
func (r *reader) entropy(s scan, final bool) error {
	mcusX, mcusY := r.mcus(s)
	alone := len(s.comps) == 1
	stop := mcusY // rows of MCUs that matter
	if final && !r.progressive {
		stop = 0
		for _, c := range s.comps {
			v := c.v
			if alone {
				v = 1
			}
			stop = max(stop, ceil(c.y1, v))
		}
	}
	left, segment := 0, r.restart
	starved := false
	for my := range stop {
		for mx := range mcusX {
			if left == 0 {
				if my+mx == 0 {
					r.pos += r.bits.open(r.data[r.pos:])
				} else if r.nextSegment((my*mcusX+mx)/segment - 1) {
					starved = false // without a segment it stays: libjpeg then goes on with grey at once
				}
				r.eobRun, left = 0, segment
				for _, c := range s.comps {
					c.dcLast = 0
				}
				if segment == 0 {
					left = -1
				}
			}
			left--
			for _, c := range s.comps {
				h, v := c.h, c.v
				if alone {
					h, v = 1, 1
				}
				for j := range v {
					for i := range h {
						if r.progressive {
							if !starved {
								r.refine(s, c, mx*h+i, my*v+j)
							}
							continue
						}
						r.sequential(c, mx*h+i, my*v+j, starved)
					}
				}
			}
			if !starved && r.bits.starved() {
				starved = true // libjpeg goes on with grey, and so does Pillow
			}
		}
	}
	if segment > 0 {
		for n := ceil(stop*mcusX, segment) - 1; n < ceil(mcusY*mcusX, segment)-1; n++ {
			r.nextSegment(n) // to where the whole picture ends
		}
	}
	return nil
}

// nextSegment goes on behind the restart marker with a number, counted from 0, and says whether there is a segment. Where another marker
// stands, it does as jpeg_resync_to_restart of libjpeg: one of the two before and those that are none are passed over with what follows
// them, one of the next two and the end are left for their turn, and the others are taken for the right one.
func (r *reader) nextSegment(number int) bool {
	for len(r.data)-r.pos >= 2 {
		m := int(r.data[r.pos+1])
		ahead, restart := (m-markRST0-number)&7, m >= markRST0 && m <= markRST7
		if m >= markSOF0 && (!restart || ahead == 1 || ahead == 2) {
			break
		}
		r.pos += 2
		r.pos += r.bits.open(r.data[r.pos:])
		if restart && ahead < 6 {
			return true
		}
	}
	r.bits.open(nil)
	return false
}

// sequential reads one block of a baseline scan and, when it is wanted, transforms it into its plane.
func (r *reader) sequential(c *component, bx, by int, starved bool) {
	wanted := bx >= c.x0 && bx < c.x1 && by >= c.y0 && by < c.y1
	if starved {
		if wanted {
			r.transformBlock(c, bx, by, &r.block, 0)
		}
		return
	}
	c.dcLast += r.bits.dcDiff(&r.dc[c.dc])
	if !wanted {
		r.bits.skipAC(&r.ac[c.ac])
		return
	}
	r.block[0] = int16(c.dcLast)
	last := r.bits.ac(&r.block, &r.ac[c.ac])
	r.transformBlock(c, bx, by, &r.block, last)
}

// transformBlock writes a block's samples and clears its coefficients; last is 0 when there is nothing but the DC.
func (r *reader) transformBlock(c *component, bx, by int, block *[64]int16, last int) {
	at := c.pitch*(by-c.y0)*8 + planePad + (bx-c.x0)*8
	q := &r.quant[c.quant]
	if last == 0 {
		flat(c.plane[at:], c.pitch, block[0]*int16(q[0]))
		block[0] = 0
		return
	}
	idct(c.plane[at:], c.pitch, block, q)
}

// transformAll transforms the wanted blocks of a progressive picture.
func (r *reader) transformAll() {
	if !r.progressive {
		return
	}
	for i := range r.comps {
		c := &r.comps[i]
		for by := c.y0; by < c.y1; by++ {
			for bx := c.x0; bx < c.x1; bx++ {
				r.transformBlock(c, bx, by, (*[64]int16)(c.coef[(by*c.stride+bx)*64:]), 1)
			}
		}
	}
}
