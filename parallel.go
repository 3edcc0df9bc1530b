package contraflow

import (
	"context"
	"sync"
	"sync/atomic"
)

// job is one item on its way through a parallel step: the queue of jobs in order bounds what is in flight.
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
	unhook := context.AfterFunc(inner, n.gate.wake)
	var wg sync.WaitGroup
	defer func() { // also when a chained step ends this goroutine
		cancel()
		wg.Wait()
		unhook()
	}()
	jobs, order := make(chan *job[O]), make(chan *job[O], 2*n.most)
	free := sync.Pool{New: func() any { return &job[O]{done: make(chan O, 1)} }}
	var failed atomic.Bool

	for w := range n.most {
		wg.Go(func() {
			own := n.as(ctx, w)
			for j := range jobs {
				attempt(own, func(ctx context.Context) error {
					o, err := apply(ctx, w, j.seq, keep, j.v)
					if err == nil {
						j.done <- o
					}
					return err
				}, func(err error) {
					n.gate.finish()
					if err != nil {
						failed.Store(true)
						n.g.fail(n.name, err)
						cancel()
					}
				})
			}
		})
	}
	var ended bool
	wg.Go(func() {
		defer close(jobs)
		defer close(order)
		for seq := int64(0); ; seq++ {
			v, ok, err := n.next(inner, in)
			if err != nil || !ok {
				ended = err == nil
				n.ledger.rest(n.g.now(), done)
				return
			}
			// A worker that idles while an item is at hand waits for the order of the output, or for room in it.
			n.ledger.rest(n.g.now(), blocked)
			if !n.gate.enter(inner) {
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
				j.v = nil
				free.Put(j)
				err := out.send(inner, o)
				n.gate.leave()
				if err != nil {
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
