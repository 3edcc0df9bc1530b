package contraflow

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/reugn/go-streams"
)

// From adopts a go-streams Outlet (any of its sources, or the end of a pipeline) as the start of a typed stream.
// An element that is not a T ends the run with an error that names both types. When the run ends early the outlet
// is drained in the background until its owner closes it, so that the foreign side is never left blocked.
func From[T any](g *Graph, name string, o streams.Outlet, opts ...StageOption) Port[T] {
	at := site(1)
	n, s := g.add("from", name, at, opts, takesDepth)
	if o == nil {
		g.mistake(at, "from %q has no outlet", name)
	} else {
		n.refuses(func() { go drain(o.Out()) })
	}
	out := n.out(s.depth)
	n.loops = append(n.loops, func(ctx context.Context) (err error) {
		defer close(out.ch)
		defer func() { err = n.settle(recover(), err) }()
		in := o.Out()
		defer func() { go drain(in) }()
		for seq := int64(0); ; seq++ {
			if g.stopped() { // while the outlet has more, the select below may choose that
				return nil
			}
			var v any
			var ok bool
			// The time that the foreign source takes for an item is this stage's.
			d, err := n.book(0, seq, blocked, func() error {
				select {
				case v, ok = <-in:
					return nil
				case <-g.stop:
					return nil
				case <-ctx.Done():
					return errDone
				}
			})
			if err != nil || !ok {
				return err
			}
			n.count(d)
			t, err := as[T](v, n)
			if err == nil {
				err = out.send(ctx, t)
			}
			if err != nil {
				return err
			}
		}
	})
	return Port[T]{out}
}

// Through sends a stream through a go-streams Flow and goes on with what comes out of it. The flow may drop or gather items, or close
// its output early, after which what still comes is dropped until the sources end; between a fork and a zip it must say how many it
// keeps with Holds.
func Through[A, B any](p Port[A], name string, f streams.Flow, opts ...StageOption) Port[B] {
	g, at := graphOf(p), site(1)
	n, s := g.add("through", name, at, opts, takesDepth|takesHolds)
	if f == nil {
		g.mistake(at, "through %q has no flow", name)
	} else {
		n.refuses(func() { close(f.In()) })
	}
	in := connect(p, n)
	out, over := n.out(s.depth), make(chan struct{})
	n.loops = append(n.loops, func(ctx context.Context) error {
		return n.pump(ctx, in, f.In(), over)
	}, func(ctx context.Context) (err error) {
		defer close(over)
		defer close(out.ch)
		defer func() { err = n.settle(recover(), err) }()
		results := f.Out()
		defer func() { go drain(results) }()
		for {
			v, ok, err := receive(ctx, results)
			if err != nil {
				return err
			}
			if !ok {
				if ctx.Err() != nil {
					return errDone
				}
				return nil
			}
			b, err := as[B](v, n)
			if err == nil {
				// While nobody takes what comes out, the flow is not busy but blocked.
				n.ledger.hold(g.now(), true)
				err = out.send(ctx, b)
				n.ledger.hold(g.now(), false)
			}
			if err != nil {
				return err
			}
		}
	})
	return Port[B]{out}
}

// To ends a stream in a go-streams Sink. The run waits for the sink's completion, unless it is cancelled: then a goroutine waits on.
func To[T any](p Port[T], name string, sink streams.Sink) {
	g, at := graphOf(p), site(1)
	n, _ := g.add("to", name, at, nil, 0)
	if sink == nil {
		g.mistake(at, "to %q has no sink", name)
	} else {
		n.refuses(func() { close(sink.In()) })
	}
	in := connect(p, n)
	n.loops = append(n.loops, func(ctx context.Context) error {
		if err := n.pump(ctx, in, sink.In(), nil); err != nil {
			return err
		}
		return n.finish(ctx, func(ctx context.Context) error {
			complete := make(chan struct{})
			go func() { sink.AwaitCompletion(); close(complete) }()
			select {
			case <-complete:
				return nil
			case <-ctx.Done():
				return errDone
			}
		})
	})
}

// Outlet ends a stream as the source of a plain go-streams pipeline: what comes out of the port goes there, beginning with the
// run. The pipeline must be read to its end, or the run cancelled. go-streams cannot tell a failed stream from a complete
// one: Run's error does.
func Outlet[T any](p Port[T], name string) streams.Source {
	g, at := graphOf(p), site(1)
	n, _ := g.add("to", name, at, nil, 0)
	in, out := connect(p, n), make(outlet)
	n.refuses(func() { close(out) })
	n.loops = append(n.loops, func(ctx context.Context) error { return n.pump(ctx, in, out, nil) })
	return out
}

// refuses sets what frees the foreign neighbours of n if it will not run: one that is added too late will not.
func (n *node) refuses(f func()) {
	n.refused = f
	if n.late {
		n.refuse()
	}
}

// refuse frees the foreign neighbours of a stage that will not run, once. A channel may be closed already, of a foreign stage that was
// used twice: the mistakes say more.
func (n *node) refuse() {
	if f := n.refused; f != nil {
		n.refused = nil
		guard(context.Background(), func(context.Context) error { f(); return nil })
	}
}

// pump copies an edge into a foreign inlet and closes it when the stream ends. A foreign stage knows no context: the
// inlet is closed on failure too, which is how it learns to stop. It is busy for as long as it does not take the next item. Once over
// is closed it takes no more, and what still comes is dropped.
func (n *node) pump(ctx context.Context, in *edge, to chan<- any, over <-chan struct{}) error {
	defer close(to)
	for seq := int64(0); ; seq++ {
		v, ok, err := n.next(ctx, in)
		if err != nil || !ok {
			return err
		}
		d, err := n.book(0, seq, starved, func() error {
			select {
			case to <- v:
				return nil
			case <-over:
				return errOver
			case <-ctx.Done():
				return errDone
			}
		})
		if err == errOver {
			return n.discard(ctx, in)
		}
		if err != nil {
			return err
		}
		n.count(d)
	}
}

// errOver is why an item was not taken: the flow has closed its output.
var errOver = errors.New("the flow takes no more")

func receive(ctx context.Context, in <-chan any) (any, bool, error) {
	select {
	case v, ok := <-in:
		return v, ok, nil
	case <-ctx.Done():
		return nil, false, errDone
	}
}

// drain empties a foreign channel until its owner closes it.
func drain(in <-chan any) {
	for range in {
	}
}

// Flow is one of our stages as a go-streams Flow, for use in a plain go-streams pipeline: the same function, order
// and workers as Step. It starts when Via or To connects its output. go-streams has no way to report an error:
// after one the flow drains its input, closes its output, and Err tells.
type Flow[I, O any] struct {
	name string
	fn   func(context.Context, I) (O, error)
	opts []StageOption
	in   outlet
	out  outlet
	err  chan error
	once sync.Once
}

var _ streams.Flow = (*Flow[int, int])(nil)

// NewFlow makes a Flow. Nothing runs until it is connected.
func NewFlow[I, O any](name string, fn func(context.Context, I) (O, error), opts ...StageOption) *Flow[I, O] {
	at := site(1)
	opts = append(slices.Clone(opts), func(s *settings) { s.at = at })
	return &Flow[I, O]{name: name, fn: fn, opts: opts, in: make(outlet), out: make(outlet), err: make(chan error, 1)}
}

// In is where the upstream sends.
func (f *Flow[I, O]) In() chan<- any { return f.in }

// Out is where results come out. The first call starts the flow.
func (f *Flow[I, O]) Out() <-chan any {
	f.start()
	return f.out
}

// Via connects the next flow and returns it.
func (f *Flow[I, O]) Via(next streams.Flow) streams.Flow {
	f.start()
	return f.out.Via(next)
}

// To connects a sink and waits for it.
func (f *Flow[I, O]) To(sink streams.Sink) {
	f.start()
	f.out.To(sink)
}

// Err waits for the flow to end and returns its first error.
func (f *Flow[I, O]) Err() error {
	err := <-f.err
	f.err <- err
	return err
}

func (f *Flow[I, O]) start() { f.once.Do(f.launch) }

func (f *Flow[I, O]) launch() {
	g := New(f.name)
	in := From[I](g, f.name+" in", f.in)
	Each(Step(in, f.name, f.fn, f.opts...), f.name+" out", func(ctx context.Context, o O) error {
		select {
		case f.out <- o:
			return nil
		case <-ctx.Done():
			return errDone
		}
	})
	go func() {
		err := g.Run(context.Background())
		close(f.out)
		f.err <- err
	}()
}

// outlet is a channel as a go-streams Source.
type outlet chan any

func (o outlet) Out() <-chan any { return o }

// Via connects a flow and returns it.
func (o outlet) Via(next streams.Flow) streams.Flow {
	go o.To(pass{next})
	return next
}

// To connects a sink and waits for it.
func (o outlet) To(sink streams.Sink) {
	defer sink.AwaitCompletion()
	defer close(sink.In())
	for v := range o {
		sink.In() <- v
	}
}

// pass is an inlet that has nothing to wait for.
type pass struct{ streams.Inlet }

func (pass) AwaitCompletion() {}
