package contraflow

import (
	"context"
	"time"

	"github.com/reugn/go-streams"
)

// From adopts a go-streams Outlet (any of its sources, or the end of a pipeline) as the start of a typed stream.
// An element that is not a T ends the run with an error that names both types. When the run ends early the outlet
// is drained in the background until its owner closes it, so that the foreign side is never left blocked.
func From[T any](g *Graph, name string, o streams.Outlet, opts ...StageOption) Port[T] {
	at := site(1)
	n, s := g.add("from", name, at, opts)
	if o == nil {
		g.mistake(at, "from %q has no outlet", name)
	}
	out := n.out(s.depth)
	n.loops = append(n.loops, func(ctx context.Context) (err error) {
		defer close(out.ch)
		defer func() { err = n.settle(recover(), err) }()
		in := o.Out()
		for seq := int64(0); ; seq++ {
			v, ok, err := receive(ctx, &n.meter, in)
			if err != nil {
				go drain(in)
				return err
			}
			if !ok {
				return nil
			}
			var t T
			err = n.call(0, seq, func() (err error) { t, err = as[T](v, n); return err })
			if err == nil {
				err = out.send(ctx, &n.meter, t)
			}
			if err != nil {
				go drain(in)
				return err
			}
		}
	})
	return Port[T]{out}
}

// Through sends a stream through a go-streams Flow and goes on with what comes out of it. The flow may drop or
// gather items; between a fork and a zip it must say how many it keeps with Holds.
func Through[A, B any](p Port[A], name string, f streams.Flow, opts ...StageOption) Port[B] {
	g, at := graphOf(p), site(1)
	n, s := g.add("through", name, at, opts)
	if f == nil {
		g.mistake(at, "through %q has no flow", name)
	}
	in := connect(p, n)
	out := n.out(s.depth)
	n.loops = append(n.loops, func(ctx context.Context) error {
		return pump(ctx, n, in, f.In())
	}, func(ctx context.Context) (err error) {
		defer close(out.ch)
		defer func() { err = n.settle(recover(), err) }()
		results := f.Out()
		for seq := int64(0); ; seq++ {
			v, ok, err := receive(ctx, &n.meter, results)
			if err != nil {
				go drain(results)
				return err
			}
			if !ok {
				if ctx.Err() != nil {
					return errDone
				}
				return nil
			}
			var b B
			err = n.call(0, seq, func() (err error) { b, err = as[B](v, n); return err })
			if err == nil {
				err = out.send(ctx, &n.meter, b)
			}
			if err != nil {
				go drain(results)
				return err
			}
		}
	})
	return Port[B]{out}
}

// To ends a stream in a go-streams Sink. The run waits for the sink's completion.
func To[T any](p Port[T], name string, sink streams.Sink) {
	g, at := graphOf(p), site(1)
	n, _ := g.add("to", name, at, nil)
	if sink == nil {
		g.mistake(at, "to %q has no sink", name)
	}
	in := connect(p, n)
	n.loops = append(n.loops, func(ctx context.Context) error {
		if err := pump(ctx, n, in, sink.In()); err != nil {
			return err
		}
		sink.AwaitCompletion()
		return nil
	})
}

// pump copies an edge into a foreign inlet and closes it when the stream ends. A foreign stage knows no context: the
// inlet is closed on failure too, which is how it learns to stop.
func pump(ctx context.Context, n *node, in *edge, to chan<- any) error {
	defer close(to)
	for {
		v, ok, err := in.recv(ctx, &n.meter)
		if err != nil || !ok {
			return err
		}
		select {
		case to <- v:
		case <-ctx.Done():
			return errDone
		}
	}
}

func receive(ctx context.Context, m *meter, in <-chan any) (any, bool, error) {
	select {
	case v, ok := <-in:
		return v, ok, nil
	default:
	}
	t := time.Now()
	defer func() { m.starved.Add(int64(time.Since(t))) }()
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
	in   chan any
	out  chan any
	err  chan error
	run  bool
}

var _ streams.Flow = (*Flow[int, int])(nil)

// NewFlow makes a Flow. Nothing runs until it is connected.
func NewFlow[I, O any](name string, fn func(context.Context, I) (O, error), opts ...StageOption) *Flow[I, O] {
	return &Flow[I, O]{name: name, fn: fn, opts: opts, in: make(chan any), out: make(chan any), err: make(chan error, 1)}
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
	go f.copy(next)
	return next
}

// To connects a sink and waits for it.
func (f *Flow[I, O]) To(sink streams.Sink) {
	f.start()
	f.copy(sink)
	sink.AwaitCompletion()
}

// Err waits for the flow to end and returns its first error.
func (f *Flow[I, O]) Err() error {
	err := <-f.err
	f.err <- err
	return err
}

func (f *Flow[I, O]) copy(to streams.Inlet) {
	defer close(to.In())
	for v := range f.out {
		to.In() <- v
	}
}

func (f *Flow[I, O]) start() {
	if f.run {
		return
	}
	f.run = true
	g := New(f.name)
	in := From[I](g, f.name+" in", outlet(f.in))
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

// outlet is a channel as a go-streams Outlet.
type outlet chan any

func (o outlet) Out() <-chan any { return o }
