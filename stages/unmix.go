package stages

import "context"

// Unmix adds a view to every batch: the first one mixed with itself in reverse order (Shen et al., Un-Mix, AAAI 2022), either
// blended with weight λ or, with probability 1-Prob, with boxes of area share 1-λ exchanged. The loss weighs the mixed
// view against both of its sources by Batch.Lambda.
type Unmix struct {
	Prob float64 // of a blend
	Beta float64 // λ ~ Beta(β,β)
	Seed uint64
}

// Run adds the mixed view.
func (u *Unmix) Run(_ context.Context, b *Batch) (*Batch, error) {
	dice := &Rand{Draw(u.Seed, b.Epoch, b.Step, PurposeUnmix)}
	whole, lambda := dice.Float64() < u.Prob, dice.Beta(u.Beta, u.Beta)
	s, x := b.Shapes[0], b.Views[0]
	c, h, w := s[0], s[1], s[2]
	size, last := c*h*w, len(b.Index)-1
	if n := len(b.Views); n < cap(b.Views) {
		b.Views = b.Views[:n+1]
	} else {
		b.Views = append(b.Views, nil)
	}
	b.Shapes = append(b.Shapes, s)
	mixed := grow(b.Views[len(b.Views)-1], len(x))
	b.Views[len(b.Views)-1] = mixed
	var box Area
	if !whole {
		box = Around(lambda, h, w, dice.Int(0, h), dice.Int(0, w))
		lambda = 1 - float64(box.Size())/float64(h*w)
	}
	for i := range last + 1 {
		to, own, other := mixed[i*size:][:size], x[i*size:][:size], x[(last-i)*size:][:size]
		if whole {
			blend(to, own, other, lambda)
			continue
		}
		copy(to, own)
		box.rows(c, h, w, func(at, n int) { copy(to[at:at+n], other[at:]) })
	}
	b.Lambda = lambda
	return b, nil
}
