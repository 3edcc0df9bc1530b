package pixel

import "fmt"

// Picture is an 8-bit RGB image, three bytes a pixel, rows without gaps.
type Picture struct {
	W, H int
	Pix  []byte
}

// Reset gives the picture a size, reusing its memory.
func (p *Picture) Reset(w, h int) {
	p.W, p.H = w, h
	n := w * h * 3
	if cap(p.Pix) < n {
		p.Pix = make([]byte, n)
	}
	p.Pix = p.Pix[:n]
}

// Row is one row, 3·W bytes.
func (p *Picture) Row(y int) []byte { return p.Pix[y*p.W*3:][:p.W*3] }

// Box is a rectangle of pixels: left, top, width, height.
type Box struct{ X, Y, W, H int }

// Union is the smallest box that holds both.
func (b Box) Union(o Box) Box {
	x, y := min(b.X, o.X), min(b.Y, o.Y)
	return Box{X: x, Y: y, W: max(b.X+b.W, o.X+o.W) - x, H: max(b.Y+b.H, o.Y+o.H) - y}
}

// check panics when a box leaves its picture: that is a mistake of the caller.
func (b Box) check(p *Picture) { b.within(p.W, p.H) }

func (b Box) within(w, h int) {
	if b.W < 1 || b.H < 1 || b.X < 0 || b.Y < 0 || b.X+b.W > w || b.Y+b.H > h {
		panic(fmt.Sprintf("ops: box %+v outside a %d×%d picture", b, w, h))
	}
}

// FlipH mirrors the picture left to right.
func (p *Picture) FlipH() {
	for y := range p.H {
		row := p.Row(y)
		for a, b := 0, len(row)-3; a < b; a, b = a+3, b-3 {
			row[a], row[b] = row[b], row[a]
			row[a+1], row[b+1] = row[b+1], row[a+1]
			row[a+2], row[b+2] = row[b+2], row[a+2]
		}
	}
}
