package jpeg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The markers that are told apart.
const (
	markTEM  = 0x01
	markSOF0 = 0xc0 // baseline
	markSOF2 = 0xc2 // progressive
	markDHT  = 0xc4
	markJPG  = 0xc8 // of other formats
	markDAC  = 0xcc
	markRST0 = 0xd0
	markRST7 = 0xd7
	markSOI  = 0xd8
	markEOI  = 0xd9
	markSOS  = 0xda
	markDQT  = 0xdb
	markDNL  = 0xdc
	markDRI  = 0xdd
	markAPP0 = 0xe0
	markAPPe = 0xee
	markCOM  = 0xfe
)

var (
	errTruncated = errors.New("broken jpeg: the file is truncated")
	errUnknown   = errors.New("broken jpeg: a marker that there is not")
	errForeign   = errors.New("a kind of jpeg that the Go decoder does not know")
)

// component is one channel of the frame.
type component struct {
	id      byte
	h, v    int // sampling factors
	quant   int
	w, rows int // samples
	bw, bh  int // blocks that hold samples
	stride  int // blocks of a row of coef, whole MCUs
	coef    []int16
	plane   []byte
	pitch   int // of plane
	x0, x1  int // blocks of a row that are wanted
	y0, y1  int // rows of blocks that are wanted
	dc, ac  int // tables of the scan
	dcLast  int
	known   [guessed]uint // of a coefficient: 1 + the lowest bit that a scan has, 0 when no scan has it
}

// reader decodes one JPEG after another and keeps its memory.
type reader struct {
	data        []byte
	pos         int
	w, h        int
	progressive bool
	comps       []component
	scanned     [4]*component // the channels of a scan
	hMax, vMax  int
	quant       [4][64]uint16 // in the order of blocks
	hasQuant    [4]bool
	dc, ac      [4]table
	hasDC       [16]bool // a scan may name tables above 3, which there are none of
	hasAC       [16]bool
	restart     int // MCUs between restart markers
	jfif, adobe bool
	transform   byte // of Adobe's marker
	colours     model
	endless     bool // the end marker is missing
	bits        bits
	block       [64]int16
	eobRun      int
	rows        [4][]byte // of the channels at full resolution
}

// reset forgets the last picture.
func (r *reader) reset(data []byte) {
	r.data, r.pos = data, 0
	r.w, r.h, r.restart = 0, 0, 0
	r.progressive, r.jfif, r.adobe, r.endless = false, false, false, false
	r.comps = r.comps[:0]
	r.hasQuant, r.hasDC, r.hasAC = [4]bool{}, [16]bool{}, [16]bool{}
}

// passed says whether libjpeg does without what a segment holds.
func passed(m byte) bool { return m >= markAPP0 && m <= 0xef || m == markCOM || m == markDNL }

// known says whether libjpeg knows a marker. The others are errors, since they may belong to formats to come.
func known(m byte) bool {
	return m <= markTEM || m >= markSOF0 && m <= markDRI && m != markJPG || passed(m)
}

// marker finds the next marker and its payload. The marker, if there is one, comes also with an error of its payload.
func (r *reader) marker() (m byte, body []byte, err error) {
	for {
		i := bytes.IndexByte(r.data[r.pos:], 0xff)
		if i < 0 {
			return 0, nil, errTruncated
		}
		r.pos += i
		for r.pos < len(r.data) && r.data[r.pos] == 0xff {
			r.pos++
		}
		if r.pos == len(r.data) {
			return 0, nil, errTruncated
		}
		m = r.data[r.pos]
		r.pos++
		if m != 0 {
			break
		}
	}
	if m == markSOI || m == markEOI || m == markTEM || m >= markRST0 && m <= markRST7 {
		return m, nil, nil
	}
	if len(r.data)-r.pos < 2 {
		return m, nil, errTruncated
	}
	n := int(binary.BigEndian.Uint16(r.data[r.pos:]))
	if n < 2 && !passed(m) {
		return m, nil, fmt.Errorf("broken jpeg: a segment of %d bytes", n)
	}
	if n = max(n, 2); len(r.data)-r.pos < n {
		return m, nil, errTruncated
	}
	body = r.data[r.pos+2 : r.pos+n]
	r.pos += n
	return m, body, nil
}

// filled is the payload of the last segment, which is cut off, as libjpeg-turbo reads it: behind the data it finds end markers.
func (r *reader) filled() []byte {
	body := append(bytes.Clone(r.data[r.pos:]), endMarker...)
	r.pos = len(r.data)
	n := int(binary.BigEndian.Uint16(body))
	for len(body) < n {
		body = append(body, endMarker...)
	}
	return body[2:n]
}

// table takes a segment that sets something for the scans to come.
func (r *reader) tables(m byte, body []byte) error {
	switch m {
	case markDQT:
		return r.readQuant(body)
	case markDHT:
		return r.readHuffman(body)
	case markDRI:
		if len(body) != 2 {
			return fmt.Errorf("broken jpeg: a restart interval of %d bytes", len(body))
		}
		r.restart = int(binary.BigEndian.Uint16(body))
	case markAPP0:
		r.jfif = r.jfif || bytes.HasPrefix(body, []byte("JFIF\x00")) && len(body) >= 14
	case markAPPe:
		if bytes.HasPrefix(body, []byte("Adobe")) && len(body) >= 12 {
			r.adobe, r.transform = true, body[11]
		}
	case markDAC: // of arithmetic coding: we have no use for it, but libjpeg reads it
		for ; len(body) > 0; body = body[2:] {
			if len(body) < 2 || body[0] > 31 || body[0] < 16 && body[1]&15 > body[1]>>4 {
				return errors.New("broken jpeg: wrong conditions of arithmetic coding")
			}
		}
	case markSOI:
		return errors.New("broken jpeg: it starts twice")
	}
	return nil
}

func (r *reader) readQuant(body []byte) error {
	for len(body) > 0 {
		wide, id := min(body[0]>>4, 1), body[0]&15
		n := 64 << wide
		if id > 3 || len(body) < 1+n {
			return errors.New("broken jpeg: a quantisation table that is short or has a number above 3")
		}
		for k := range 64 {
			v := uint16(body[1+k<<wide])
			if wide > 0 {
				v = binary.BigEndian.Uint16(body[1+2*k:])
			}
			r.quant[id][place[k]] = v
		}
		r.hasQuant[id] = true
		body = body[1+n:]
	}
	return nil
}

func (r *reader) readHuffman(body []byte) error {
	for len(body) > 0 {
		if len(body) < 17 {
			return errors.New("broken jpeg: a Huffman table that is short")
		}
		class, id, n := body[0]>>4, body[0]&15, 0
		for _, c := range body[1:17] {
			n += int(c)
		}
		if class > 1 || id > 3 || n > 256 || len(body) < 17+n {
			return errors.New("broken jpeg: a Huffman table that is short or has a number above 3")
		}
		t, has := &r.dc[id], &r.hasDC
		if class == 1 {
			t, has = &r.ac[id], &r.hasAC
		}
		t.make(body[1:17+n], class == 0)
		has[id] = true
		body = body[17+n:]
	}
	return nil
}

// frame reads a SOF segment.
func (r *reader) frame(m byte, body []byte) error {
	if len(r.comps) > 0 {
		return errors.New("broken jpeg: two frames")
	}
	if m > markSOF2 || len(body) < 6 || body[0] != 8 {
		return errForeign // lossless, arithmetic, 12 bits
	}
	r.progressive = m == markSOF2
	r.h, r.w = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
	n := int(body[5])
	if err := checkSize(r.w, r.h, len(r.data)); err != nil {
		return err
	}
	if n != 1 && n != 3 && n != 4 || len(body) != 6+3*n {
		return fmt.Errorf("broken jpeg: %d channels", n)
	}
	r.hMax, r.vMax = 1, 1
	for i := range n {
		if len(r.comps) == cap(r.comps) {
			r.comps = append(r.comps, component{})
		} else {
			r.comps = r.comps[:i+1] // with the memory of the picture before
		}
		c := component{id: body[6+3*i], h: int(body[7+3*i] >> 4), v: int(body[7+3*i] & 15), quant: int(body[8+3*i]),
			coef: r.comps[i].coef, plane: r.comps[i].plane}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.quant > 3 {
			return fmt.Errorf("broken jpeg: sampling %d×%d, quantisation table %d", c.h, c.v, c.quant)
		}
		r.comps[i] = c
		r.hMax, r.vMax = max(r.hMax, c.h), max(r.vMax, c.v)
	}
	for i := range r.comps {
		c := &r.comps[i]
		if r.hMax%c.h != 0 || r.vMax%c.v != 0 {
			return errors.New("broken jpeg: sampling factors that do not divide each other")
		}
		c.w, c.rows = ceil(r.w*c.h, r.hMax), ceil(r.h*c.v, r.vMax)
		c.bw, c.bh = ceil(c.w, 8), ceil(c.rows, 8)
		c.stride = ceil(r.w, 8*r.hMax) * c.h
	}
	return nil
}

func ceil(a, b int) int { return (a + b - 1) / b }

// header reads up to the frame and returns its size.
func (r *reader) header() error {
	if len(r.data) < 2 || r.data[0] != 0xff || r.data[1] != markSOI {
		return errors.New("broken jpeg: it does not start as one")
	}
	r.pos = 2
	for len(r.comps) == 0 {
		m, body, err := r.marker()
		if !known(m) {
			return errUnknown
		}
		if err != nil {
			return err
		}
		switch {
		case m == markEOI || m == markSOS:
			return errors.New("broken jpeg: no frame")
		case m >= markSOF0 && m <= 0xcf && m != markDHT && m != markDAC:
			err = r.frame(m, body)
		case m == markDAC:
			err = errForeign
		default:
			err = r.tables(m, body)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// model says how the channels become RGB, as libjpeg guesses it when the first scan begins.
type model int

const (
	modelGray model = iota
	modelYCC
	modelRGB
	modelCMYK
	modelYCCK
)

func (r *reader) model() model {
	switch len(r.comps) {
	case 1:
		return modelGray
	case 4:
		if r.adobe && r.transform != 0 {
			return modelYCCK
		}
		return modelCMYK
	}
	ids := [3]byte{r.comps[0].id, r.comps[1].id, r.comps[2].id}
	switch {
	case r.jfif:
		return modelYCC
	case r.adobe:
		if r.transform == 0 {
			return modelRGB
		}
		return modelYCC
	case ids == [3]byte{'R', 'G', 'B'}:
		return modelRGB
	}
	return modelYCC
}
