package contraflow

import (
	"context"
	"errors"
	"fmt"
)

// Pair is what Zip2 makes of two streams.
type Pair[A, B any] struct {
	A A
	B B
}

// ErrUneven ends a run in which one input of a zip ended before the other.
var ErrUneven = errors.New("one input ended before the other")

// Each ends a stream: fn sees every item, in order, on one goroutine. Finish sets what runs after the last one, if nothing
// has failed.
func Each[T any](p Port[T], name string, fn func(context.Context, T) error, opts ...StageOption) {
	g, at := graphOf(p), site(1)
	n, s := g.add("each", name, at, opts, takesFinish)
	if fn == nil {
		g.mistake(at, "each %q has no function", name)
	}
	in := connect(p, n)
	n.loops = append(n.loops, func(ctx context.Context) error {
		for seq := int64(0); ; seq++ {
			v, ok, err := n.next(ctx, in)
			if err != nil {
				return err
			}
			if !ok {
				return n.finish(ctx, s.finish)
			}
			t, err := as[T](v, in.from)
			if err != nil {
				return err
			}
			if err := n.call(0, seq, starved, func() error { return fn(ctx, t) }); err != nil {
				return err
			}
		}
	})
}

// Fork2 splits every item in two. The legs have edges of their own; fn runs on one goroutine.
func Fork2[I, A, B any](p Port[I], name string, fn func(I) (A, B), opts ...StageOption) (Port[A], Port[B]) {
	g, at := graphOf(p), site(1)
	n, s := g.add("fork", name, at, opts, takesDepth)
	if fn == nil {
		g.mistake(at, "fork %q has no function", name)
	}
	in := connect(p, n)
	first, second := n.out(s.depth), n.out(s.depth)
	n.loops = append(n.loops, func(ctx context.Context) (err error) {
		defer close(first.ch)
		defer close(second.ch)
		defer func() { err = n.settle(recover(), err) }()
		for seq := int64(0); ; seq++ {
			v, ok, err := n.next(ctx, in)
			if err != nil || !ok {
				return err
			}
			i, err := as[I](v, in.from)
			if err != nil {
				return err
			}
			var a A
			var b B
			if err := n.call(0, seq, blocked, func() error { a, b = fn(i); return nil }); err != nil {
				return err
			}
			if err := first.send(ctx, a); err != nil {
				return err
			}
			if err := second.send(ctx, b); err != nil {
				return err
			}
		}
	})
	return Port[A]{first}, Port[B]{second}
}

// Zip2 pairs two streams item by item. Streams of different length end the run with ErrUneven, unless Stop has ended them: what
// one then has more than the other is dropped. No feedback from behind the zip comes for that: see ErrEnded.
func Zip2[A, B any](name string, a Port[A], b Port[B], opts ...StageOption) Port[Pair[A, B]] {
	g, at := graphOf(a), site(1)
	n, s := g.add("zip", name, at, opts, takesDepth)
	if other := graphOf(b); other != g {
		g.mistake(at, "zip %q joins streams of two graphs, %q and %q", name, g.name, other.name)
	}
	ea, eb := connect(a, n), connect(b, n)
	out := n.out(s.depth)
	n.loops = append(n.loops, func(ctx context.Context) (err error) {
		var rest []*edge // to drop once out is closed: what is before may wait for what is behind, on a feedback edge or at a fork
		defer func() {
			for _, e := range rest {
				n.discard(ctx, e)
			}
		}()
		defer close(out.ch)
		defer func() { err = n.settle(recover(), err) }()
		for seq := int64(0); ; seq++ {
			va, okA, err := n.next(ctx, ea)
			if err != nil {
				return err
			}
			vb, okB, err := n.next(ctx, eb)
			if err != nil {
				return err
			}
			if okA != okB && g.stopped() { // sources that Stop ends do not end at the same item
				rest = n.ins
				return nil
			}
			if okA != okB {
				short := ea.from.name
				if okA {
					short = eb.from.name
				}
				return fmt.Errorf("after %d pairs stage %q has no more: %w", seq, short, ErrUneven)
			}
			if !okA {
				return nil
			}
			var pair Pair[A, B]
			err = n.call(0, seq, blocked, func() (err error) {
				if pair.A, err = as[A](va, ea.from); err == nil {
					pair.B, err = as[B](vb, eb.from)
				}
				return err
			})
			if err != nil {
				return err
			}
			if err := out.send(ctx, pair); err != nil {
				return err
			}
		}
	})
	return Port[Pair[A, B]]{out}
}
