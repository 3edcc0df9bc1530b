package pixel

import "fmt"

// Planes is an image of any number of channels, [C,H,W], whose full range is [0,1]: what files of depth or normals hold.
type Planes struct {
	C, H, W int
	Pix     []float32
}

// Reset gives the planes a size, reusing their memory.
func (p *Planes) Reset(c, h, w int) {
	p.C, p.H, p.W = c, h, w
	n := c * h * w
	if cap(p.Pix) < n {
		p.Pix = make([]float32, n)
	}
	p.Pix = p.Pix[:n]
}

// Resize writes box of the planes, scaled to w×h with the antialiased bilinear filter of Resizer but without its rounding,
// into dst.
func (p *Planes) Resize(dst *Planes, box Box, w, h int) {
	if box.W < 1 || box.H < 1 || box.X < 0 || box.Y < 0 || box.X+box.W > p.W || box.Y+box.H > p.H {
		panic(fmt.Sprintf("ops: box %+v outside %d×%d planes", box, p.W, p.H))
	}
	dst.Reset(p.C, h, w)
	across, down := tapsFor(box.W, w), tapsFor(box.H, h)
	mid := make([]float32, box.H*w)
	for c := range p.C {
		for y := range box.H {
			row := p.Pix[(c*p.H+box.Y+y)*p.W+box.X:][:box.W]
			for x := range w {
				mid[y*w+x] = across.sum(x, row, 1)
			}
		}
		out := dst.Pix[c*h*w:][:h*w]
		for y := range h {
			for x := range w {
				out[y*w+x] = down.sum(y, mid[x:], w)
			}
		}
	}
}

// sum is output o of values that lie stride apart.
func (t *taps) sum(o int, values []float32, stride int) float32 {
	var sum float32
	for i, k := range t.weight[o*t.width:][:t.count[o]] {
		sum += float32(float32(k) * (1.0 / (1 << precision)) * values[(t.first[o]+i)*stride])
	}
	return sum
}

// FlipH mirrors the planes left to right.
func (p *Planes) FlipH() {
	for y := range p.C * p.H {
		row := p.Pix[y*p.W:][:p.W]
		for a, b := 0, len(row)-1; a < b; a, b = a+1, b-1 {
			row[a], row[b] = row[b], row[a]
		}
	}
}
