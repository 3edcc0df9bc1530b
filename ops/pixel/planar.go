package pixel

// Planar is an 8-bit RGB image, a plane a channel, rows Stride bytes apart. Behind every row there is room, of no meaning, so
// that vectors may be read and written whole: Slack bytes at least.
type Planar struct {
	W, H, Stride int
	C            [3][]byte
	all          []byte
}

// Slack is how many bytes behind a row may be read or overwritten.
const Slack = 64

// Reset gives the planes a size, reusing their memory.
func (p *Planar) Reset(w, h int) {
	p.W, p.H = w, h
	p.Stride = (w + Slack + 31) &^ 31
	n := p.Stride * h
	if cap(p.all) < 3*n {
		p.all = make([]byte, 3*n)
	}
	for c := range p.C {
		p.C[c] = p.all[c*n : (c+1)*n]
	}
}

// distance is how many bytes apart the channels of planes are that Reset has made.
func (p *Planar) distance() int { return p.Stride * p.H }

// Row is one row of a channel with the room behind it.
func (p *Planar) Row(c, y int) []byte { return p.C[c][y*p.Stride:][:p.Stride] }

// Split takes a box out of a picture.
func (p *Planar) Split(src *Picture, box Box) {
	box.check(src)
	p.Reset(box.W, box.H)
	for y := range box.H {
		deinterleave(p.Row(0, y), p.Row(1, y), p.Row(2, y), src.Pix[((box.Y+y)*src.W+box.X)*3:], box.W)
	}
}

// Join writes the planes as a picture.
func (p *Planar) Join(dst *Picture) {
	dst.Reset(p.W, p.H)
	for y := range p.H {
		interleave(dst.Row(y), p.Row(0, y), p.Row(1, y), p.Row(2, y), p.W)
	}
}

func deinterleaveGo(r, g, b, src []byte, n int) {
	r, g, b, src = r[:n], g[:n], b[:n], src[:3*n]
	for i := range n {
		r[i], g[i], b[i] = src[3*i], src[3*i+1], src[3*i+2]
	}
}

func interleaveGo(dst, r, g, b []byte, n int) {
	r, g, b, dst = r[:n], g[:n], b[:n], dst[:3*n]
	for i := range n {
		dst[3*i], dst[3*i+1], dst[3*i+2] = r[i], g[i], b[i]
	}
}
