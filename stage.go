package contraflow

import (
	"context"
	"iter"
)

// Source starts a stream with the values of seq. An error ends the run; Stop ends the stream after the present item.
// seq is pulled by one goroutine, only as fast as its edge has room.
func Source[T any](g *Graph, name string, seq iter.Seq2[T, error], opts ...StageOption) Port[T] {
	at := site(1)
	n, s := g.add("source", name, at, opts, takesDepth)
	if seq == nil {
		g.mistake(at, "source %q has no sequence", name)
	}
	e := n.out(s.depth)
	n.loops = append(n.loops, func(ctx context.Context) (err error) {
		defer close(e.ch)
		defer func() { err = n.settle(recover(), err) }()
		next, done := iter.Pull2(seq)
		defer done()
		for seq := int64(0); ; seq++ {
			select {
			case <-g.stop:
				return nil
			case <-ctx.Done():
				return errDone
			default:
			}
			var v T
			var err error
			var ok bool
			d, _ := n.book(0, seq, blocked, func() error { v, err, ok = next(); return nil })
			if !ok {
				return nil
			}
			n.count(d)
			if err != nil {
				return err
			}
			if err := e.send(ctx, v); err != nil {
				return err
			}
		}
	})
	return Port[T]{e}
}

// Finish sets a hook that a Step or an Each runs after its input has ended cleanly, a Step before it closes its output.
func Finish(f func(ctx context.Context) error) StageOption {
	return func(s *settings) { s.finish, s.given = f, s.given|takesFinish }
}

// Step applies fn to every item. With Workers(n) n items are worked on at once and fn must be safe for that; the
// output always has the order of the input. A returned error, or a panic, ends the run with the stage's name.
func Step[I, O any](p Port[I], name string, fn func(context.Context, I) (O, error), opts ...StageOption) Port[O] {
	g, at := graphOf(p), site(1)
	n, s := g.add("step", name, at, opts, takesDepth|takesWorkers|takesFinish|takesChained)
	if fn == nil {
		g.mistake(at, "step %q has no function", name)
	}
	in := connect(p, n)
	out := n.out(s.depth)
	apply := func(ctx context.Context, worker int, seq int64, then mode, v any) (o O, err error) {
		i, err := as[I](v, in.from)
		if err != nil {
			return o, err
		}
		err = n.call(worker, seq, then, func() error { o, err = fn(ctx, i); return err })
		return o, err
	}
	if s.chained {
		n.loops = append(n.loops, chain(n, in, out, s.finish, apply))
		return Port[O]{out}
	}
	if s.most == 1 {
		n.loops = append(n.loops, func(ctx context.Context) error {
			return serial(ctx, n, in, out, s.finish, apply)
		})
		return Port[O]{out}
	}
	n.loops = append(n.loops, func(ctx context.Context) error {
		return parallel(ctx, n, in, out, s.finish, apply)
	})
	return Port[O]{out}
}

// applyFunc runs a step's function on one item; after it the idle workers are in mode then.
type applyFunc[O any] func(ctx context.Context, worker int, seq int64, then mode, v any) (O, error)

// serial is a step with one worker. The run is failed before the output closes.
func serial[O any](ctx context.Context, n *node, in, out *edge, finish func(context.Context) error, apply applyFunc[O]) (err error) {
	defer close(out.ch)
	defer func() { err = n.settle(recover(), err) }()
	for seq := int64(0); ; seq++ {
		v, ok, err := n.next(ctx, in)
		if err != nil {
			return err
		}
		if !ok {
			return n.finish(ctx, finish)
		}
		o, err := apply(ctx, 0, seq, blocked, v)
		if err != nil {
			return err
		}
		if err := out.send(ctx, o); err != nil {
			return err
		}
	}
}

// settle reports a failure or a panic to the graph at once, so that the deferred close of the output comes after.
func (n *node) settle(r any, err error) error {
	if r == nil && err == nil && n.exited.Load() {
		err = errExited
	}
	if r != nil {
		err = guard(context.Background(), func(context.Context) error { panic(r) })
	}
	if err != nil {
		n.g.fail(n.name, err)
		return errDone
	}
	return nil
}

func (n *node) finish(ctx context.Context, f func(context.Context) error) error {
	if f == nil {
		return nil
	}
	_, err := n.book(0, n.items.Load(), done, func() error { return f(ctx) })
	return err
}
