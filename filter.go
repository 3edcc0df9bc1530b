package contraflow

import "context"

// Filter is a Step with one worker that may leave items out: only those for which fn returns true go on. The stage behind it
// is woken by nothing else, so a slow one does not slow the stages before the filter as long as its edge has room.
func Filter[I, O any](p Port[I], name string, fn func(context.Context, I) (O, bool, error), opts ...StageOption) Port[O] {
	g, at := graphOf(p), site(1)
	n, s := g.add("filter", name, at, opts, takesDepth|takesFinish)
	if fn == nil {
		g.mistake(at, "filter %q has no function", name)
	}
	in := connect(p, n)
	out := n.out(s.depth)
	n.loops = append(n.loops, func(ctx context.Context) (err error) {
		defer close(out.ch)
		defer func() { err = n.settle(recover(), err) }()
		for seq := int64(0); ; seq++ {
			v, ok, err := n.next(ctx, in)
			if err != nil {
				return err
			}
			if !ok {
				return n.finish(ctx, s.finish)
			}
			i, err := as[I](v, in.from)
			if err != nil {
				return err
			}
			var o O
			var keep bool
			if err := n.call(0, seq, blocked, func() error { o, keep, err = fn(ctx, i); return err }); err != nil {
				return err
			}
			if !keep {
				continue
			}
			if err := out.send(ctx, o); err != nil {
				return err
			}
		}
	})
	return Port[O]{out}
}
