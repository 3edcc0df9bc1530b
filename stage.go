package contraflow

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
)

// Source starts a stream with the values of seq. An error ends the run; Stop ends the stream after the present item.
// seq is pulled by one goroutine, only as fast as its edge has room.
func Source[T any](g *Graph, name string, seq iter.Seq2[T, error], opts ...StageOption) Port[T] {
	at := site(1)
	n, s := g.add("source", name, at, opts)
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
			if cerr := n.call(0, seq, func() error { v, err, ok = next(); return nil }); cerr != nil {
				return cerr
			}
			if !ok {
				n.meter.items.Add(-1)
				return nil
			}
			if err != nil {
				return err
			}
			if err := e.send(ctx, &n.meter, v); err != nil {
				return err
			}
		}
	})
	return Port[T]{e}
}

// Finish sets a hook that a Step runs after its input has ended cleanly and before it closes its output.
func Finish(f func(ctx context.Context) error) StageOption {
	return func(s *settings) { s.finish = f }
}

// Step applies fn to every item. With Workers(n) n items are worked on at once and fn must be safe for that; the
// output always has the order of the input. A returned error, or a panic, ends the run with the stage's name.
func Step[I, O any](p Port[I], name string, fn func(context.Context, I) (O, error), opts ...StageOption) Port[O] {
	g, at := graphOf(p), site(1)
	n, s := g.add("step", name, at, opts)
	if fn == nil {
		g.mistake(at, "step %q has no function", name)
	}
	in := connect(p, n)
	out := n.out(s.depth)
	finish, _ := s.finish.(func(context.Context) error)
	apply := func(ctx context.Context, worker int, seq int64, v any) (o O, err error) {
		i, err := as[I](v, in.from)
		if err != nil {
			return o, err
		}
		err = n.call(worker, seq, func() error { o, err = fn(ctx, i); return err })
		return o, err
	}
	if s.most == 1 {
		n.loops = append(n.loops, func(ctx context.Context) error {
			return serial(ctx, n, in, out, finish, apply)
		})
		return Port[O]{out}
	}
	n.loops = append(n.loops, func(ctx context.Context) error {
		return parallel(ctx, n, in, out, finish, apply)
	})
	return Port[O]{out}
}

type applyFunc[O any] func(ctx context.Context, worker int, seq int64, v any) (O, error)

// serial is a step with one worker. The run is failed before the output closes.
func serial[O any](ctx context.Context, n *node, in, out *edge, finish func(context.Context) error, apply applyFunc[O]) (err error) {
	defer close(out.ch)
	defer func() { err = n.settle(recover(), err) }()
	for seq := int64(0); ; seq++ {
		v, ok, err := in.recv(ctx, &n.meter)
		if err != nil {
			return err
		}
		if !ok {
			return n.finish(ctx, finish)
		}
		o, err := apply(ctx, 0, seq, v)
		if err != nil {
			return err
		}
		if err := out.send(ctx, &n.meter, o); err != nil {
			return err
		}
	}
}

// settle reports a failure or a panic to the graph at once, so that the deferred close of the output comes after.
func (n *node) settle(r any, err error) error {
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
	return n.call(0, n.meter.items.Load(), func() error {
		n.meter.items.Add(-1)
		return f(ctx)
	})
}

// job is one item on its way through a parallel step: the window of jobs in order bounds what is in flight.
type job[O any] struct {
	seq  int64
	v    any
	done chan O
}

// parallel is a step with several workers: a dispatcher hands numbered jobs to workers, and an emitter sends their
// results in the order of the input.
func parallel[O any](ctx context.Context, n *node, in, out *edge, finish func(context.Context) error, apply applyFunc[O]) (err error) {
	defer close(out.ch)
	defer func() { err = n.settle(recover(), err) }()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	jobs, order := make(chan *job[O]), make(chan *job[O], n.most)
	free := sync.Pool{New: func() any { return &job[O]{done: make(chan O, 1)} }}
	var failed atomic.Bool

	var wg sync.WaitGroup
	for w := range n.most {
		wg.Go(func() {
			for j := range jobs {
				err := guard(ctx, func(ctx context.Context) error {
					o, err := apply(ctx, w, j.seq, j.v)
					if err == nil {
						j.done <- o
					}
					return err
				})
				n.release()
				if err != nil {
					failed.Store(true)
					n.g.fail(n.name, err)
					cancel()
				}
			}
		})
	}
	var ended bool
	wg.Go(func() {
		defer close(jobs)
		defer close(order)
		for seq := int64(0); ; seq++ {
			v, ok, err := in.recv(inner, &n.meter)
			if err != nil || !ok {
				ended = err == nil
				return
			}
			if !n.acquire(inner) {
				return
			}
			j := free.Get().(*job[O])
			j.seq, j.v = seq, v
			for _, c := range []chan *job[O]{order, jobs} {
				select {
				case c <- j:
				case <-inner.Done():
					return
				}
			}
		}
	})
	emit := func() error {
		for j := range order {
			select {
			case o := <-j.done:
				free.Put(j)
				if err := out.send(inner, &n.meter, o); err != nil {
					return err
				}
			case <-inner.Done():
				return errDone
			}
		}
		return nil
	}
	err = emit()
	if err != nil {
		cancel()
	}
	wg.Wait()
	if err != nil || failed.Load() || !ended {
		return errDone
	}
	return n.finish(ctx, finish)
}

// acquire waits until one more worker may be busy.
func (n *node) acquire(ctx context.Context) bool {
	stop := context.AfterFunc(ctx, func() {
		n.wake.L.Lock()
		defer n.wake.L.Unlock()
		n.wake.Broadcast()
	})
	defer stop()
	n.wake.L.Lock()
	defer n.wake.L.Unlock()
	for n.active >= int(n.allowed.Load()) {
		if ctx.Err() != nil {
			return false
		}
		n.wake.Wait()
	}
	n.active++
	return true
}

func (n *node) release() {
	n.wake.L.Lock()
	n.active--
	n.wake.L.Unlock()
	n.wake.Broadcast()
}
