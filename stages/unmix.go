package stages

import (
	"context"
	"slices"
)

// Unmix adds a view to every batch: the first one mixed with itself in reverse order (Shen et al., Un-Mix, AAAI 2022), either
// blended with weight λ or, with probability 1-Prob, with boxes of area share 1-λ exchanged. The loss weighs the mixed
// view against both of its sources by Batch.Lambda.
type Unmix struct {
	Prob float64 // of a blend
	Beta float64 // λ ~ Beta(β,β)
	Seed uint64
}

// Plan lets a rank decode those samples that its own meet in the reversed batch and that other ranks have, each as it is there. A
// run of one rank does not need it.
func (u *Unmix) Plan(_ context.Context, p Plan) (Plan, error) {
	if p.Whole == nil {
		return p, nil
	}
	r := &Recipe{Hosts: len(p.Index)}
	for _, index := range p.Index {
		other := p.Whole[len(p.Whole)-1-slices.Index(p.Whole, index)]
		r.Donors = append(r.Donors, Donor{Index: other, Key: other, Copy: -1})
	}
	p.Mix = r
	return p, nil
}

// Draw is what happens to a batch: a blend with weight λ, or boxes that change places.
func (u *Unmix) Draw(p Plan, h, w int) (whole bool, lambda float64, box Area) {
	dice := &Rand{Draw(u.Seed, p.Epoch, p.Step, PurposeUnmix)}
	whole, lambda = dice.Float64() < u.Prob, dice.Beta(u.Beta, u.Beta)
	if !whole {
		box = Around(lambda, h, w, dice.Int(0, h), dice.Int(0, w))
		lambda = 1 - float64(box.Size())/float64(h*w)
	}
	return whole, lambda, box
}

// Run adds the mixed view.
func (u *Unmix) Run(_ context.Context, b *Batch) (*Batch, error) {
	s, x := b.Shapes[0], b.Views[0]
	c, h, w := s[0], s[1], s[2]
	whole, lambda, box := u.Draw(b.Plan, h, w)
	size, last := c*h*w, len(b.Index)-1
	if n := len(b.Views); n < cap(b.Views) {
		b.Views = b.Views[:n+1]
	} else {
		b.Views = append(b.Views, nil)
	}
	b.Shapes = append(b.Shapes, s)
	mixed := grow(b.Views[len(b.Views)-1], (last+1)*size)
	b.Views[len(b.Views)-1] = mixed
	partner := func(i int) int { return last - i }
	if b.Mix != nil { // of Plan
		partner = func(i int) int { return last + 1 + i }
	}
	for i := range last + 1 {
		to, own, other := mixed[i*size:][:size], x[i*size:][:size], x[partner(i)*size:][:size]
		if whole {
			blend(to, own, other, lambda)
			continue
		}
		copy(to, own)
		rows(box, c, h, w, func(at, n int) { copy(to[at:at+n], other[at:]) })
	}
	for v := range b.Views { // without the partners
		sv := b.Shapes[v]
		b.Views[v] = b.Views[v][:(last+1)*sv[0]*sv[1]*sv[2]]
	}
	b.Lambda = lambda
	return b, nil
}
