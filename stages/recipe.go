package stages

import (
	"context"
	"fmt"

	"github.com/contraflow/contraflow/ops"
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

// Act is one step of a recipe, on every view of a slot.
type Act = ops.Act

// Area is a half-open box of rows and columns.
type Area = ops.Area

// The acts of ops.
const (
	Blend = ops.Blend
	Paste = ops.Paste
	Fill  = ops.Fill
)

// clip keeps the part of a box that lies on an image of h×w; nothing is left of one beside it.
func clip(a Area, h, w int) Area {
	in := func(v, n int) int { return min(max(v, 0), n) }
	return Area{Top: in(a.Top, h), Bottom: in(a.Bottom, h), Left: in(a.Left, w), Right: in(a.Right, w)}
}

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
			rows(a.Box, c, h, w, func(at, n int) { copy(to[at:at+n], from[at:]) })
		case Fill:
			rows(a.Box, c, h, w, func(at, n int) {
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

// lacking is the recipe of a view that only some pictures have: of the others nothing is mixed in, and the host keeps its own pixels.
func (r *Recipe) lacking(has []bool) *Recipe {
	out, pictures := *r, r.pictures()
	out.Acts = nil
	for _, a := range r.Acts {
		if a.Kind == Fill || has[pictures[a.From]] {
			out.Acts = append(out.Acts, a)
		}
	}
	return &out
}

// rows calls f with the offset and length of every row of the box, in all planes.
func rows(a Area, c, h, w int, f func(at, n int)) {
	if a.Size() == 0 {
		return
	}
	for plane := range c {
		for y := a.Top; y < a.Bottom; y++ {
			f((plane*h+y)*w+a.Left, a.Right-a.Left)
		}
	}
}

// pictures is the decoded picture of every slot: a copy's is that of the slot it copies.
func (r *Recipe) pictures() []int {
	out := make([]int, r.Slots())
	next := r.Hosts
	for i := range out {
		switch {
		case i < r.Hosts:
			out[i] = i
		case r.Donors[i-r.Hosts].Copy >= 0:
			out[i] = r.Donors[i-r.Hosts].Copy
		default:
			out[i] = next
			next++
		}
	}
	return out
}

// Mix carries out the recipes of batches, but for those that hold pixels: the device that renders them mixes them too. It is
// a stage without state.
func Mix(_ context.Context, b *Batch) (*Batch, error) {
	r := b.Mix
	if r == nil || b.Pixels != nil {
		return b, nil
	}
	for v, s := range b.Shapes {
		size := s[0] * s[1] * s[2]
		if len(b.Views[v]) != r.Slots()*size {
			return nil, fmt.Errorf("step %d: view %d holds %d values, its mixture needs %d pictures of %v", b.Step, v, len(b.Views[v]), r.Slots(), s)
		}
		mix := r
		if b.has != nil && b.has[v] != nil {
			mix = r.lacking(b.has[v])
		}
		mix.Apply(b.Views[v], s[0], s[1], s[2])
		b.Views[v] = b.Views[v][:r.Hosts*size]
	}
	return b, nil
}
