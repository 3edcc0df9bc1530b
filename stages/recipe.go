package stages

import (
	"context"
	"fmt"
)

// Recipe is what a mixture does to a batch, drawn before anything is decoded, so that decode knows the donors. Slots
// 0 … Hosts-1 are the samples of the batch, the others its donors.
type Recipe struct {
	Hosts  int
	Pool   int // samples that partners within the batch are drawn from: all ranks'; 0 is Hosts
	Donors []Donor
	Acts   []Act // in order
}

// Donor is a picture that only lends its pixels.
type Donor struct {
	Index int // sample of the data set
	Key   int // of its draws: every donor is augmented afresh
	Copy  int // slot it is a copy of, or -1 when it is decoded
}

// ActKind is what an act does.
type ActKind int

// The acts: To = λ·To + (1-λ)·From; To = Value·To and then From inside the box; Value inside the box.
const (
	Blend ActKind = iota
	Paste
	Fill
)

// Act is one step of a recipe, on every view of a slot.
type Act struct {
	Kind     ActKind
	To, From int // slots
	Lambda   float64
	Box      Area
	Value    float32
}

// Area is a half-open box of rows and columns.
type Area struct{ Top, Bottom, Left, Right int }

// clip keeps the part that lies on an image of h×w; nothing is left of a box beside it.
func (a Area) clip(h, w int) Area {
	in := func(v, n int) int { return min(max(v, 0), n) }
	return Area{in(a.Top, h), in(a.Bottom, h), in(a.Left, w), in(a.Right, w)}
}

// Size is the number of pixels.
func (a Area) Size() int { return max(a.Bottom-a.Top, 0) * max(a.Right-a.Left, 0) }

// Slots is the number of pictures that take part.
func (r *Recipe) Slots() int { return r.Hosts + len(r.Donors) }

// Decoded counts the pictures that must be decoded: all but donors that are copies.
func (r *Recipe) Decoded() int {
	n := r.Hosts
	for _, d := range r.Donors {
		if d.Copy < 0 {
			n++
		}
	}
	return n
}

// Apply carries the recipe out on one view, [slots,C,H,W]. Products are rounded before they are added, as the reference's are,
// so that every machine gives the same bits.
func (r *Recipe) Apply(view []float32, c, h, w int) {
	size := c * h * w
	slot := func(i int) []float32 { return view[i*size:][:size] }
	for i, d := range r.Donors {
		if d.Copy >= 0 {
			copy(slot(r.Hosts+i), slot(d.Copy))
		}
	}
	for _, a := range r.Acts {
		to := slot(a.To)
		switch a.Kind {
		case Blend:
			blend(to, to, slot(a.From), a.Lambda)
		case Paste:
			if a.Value != 1 {
				for i, v := range to {
					to[i] = a.Value * v
				}
			}
			from := slot(a.From)
			a.Box.rows(c, h, w, func(at, n int) { copy(to[at:at+n], from[at:]) })
		case Fill:
			a.Box.rows(c, h, w, func(at, n int) {
				for i := at; i < at+n; i++ {
					to[i] = a.Value
				}
			})
		}
	}
}

// blend is dst = λ·a + (1-λ)·b.
func blend(dst, a, b []float32, lambda float64) {
	l, m := float32(lambda), float32(1-lambda)
	for i := range dst {
		dst[i] = float32(l*a[i]) + float32(m*b[i])
	}
}

// rows calls f with the offset and length of every row of the box, in all planes.
func (a Area) rows(c, h, w int, f func(at, n int)) {
	if a.Size() == 0 {
		return
	}
	for plane := range c {
		for y := a.Top; y < a.Bottom; y++ {
			f((plane*h+y)*w+a.Left, a.Right-a.Left)
		}
	}
}

// Mix carries out the recipes of batches. It is a stage without state.
func Mix(_ context.Context, b *Batch) (*Batch, error) {
	r := b.Mix
	if r == nil {
		return b, nil
	}
	for v, s := range b.Shapes {
		size := s[0] * s[1] * s[2]
		if len(b.Views[v]) != r.Slots()*size {
			return nil, fmt.Errorf("step %d: view %d holds %d values, its mixture needs %d pictures of %v", b.Step, v, len(b.Views[v]), r.Slots(), s)
		}
		r.Apply(b.Views[v], s[0], s[1], s[2])
		b.Views[v] = b.Views[v][:r.Hosts*size]
	}
	return b, nil
}
