package contraflow

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// ErrEnded is why Recv has no value: the stage that Between names as the sender has ended, and all that it sent is taken. After Stop it
// comes for items that a zip drops: a stage before a Zip2 of two sources that takes it for an answer lets the graph end cleanly.
var ErrEnded = errors.New("the stage that sends has ended")

// Feedback is a declared back edge: it carries values against the stream, from a later stage to an earlier one.
// It plays no part in the end of the stream. Its capacity is the staleness: how many values may wait.
type Feedback[T any] struct {
	ch   chan T
	loop *loop
}

// loop is the untyped half of a Feedback, for checks and drawings.
type loop struct {
	name       string
	site       string
	items      atomic.Int64
	capacity   int
	start, end string // declared ends

	sent, taken chan struct{} // closed when the stage at the start, at the end, has ended
}

// Loop declares a feedback edge on which at most staleness values wait. A flow of Through between its ends, which Between names, must
// say with Holds how many items it takes before it gives one: not more than the staleness, and the receiver has to send as many before
// it waits for the first answer. Check cannot see how often it waits: a receiver that waits for an answer too many waits for ever, which
// WithWatchdog tells of.
func Loop[T any](g *Graph, name string, staleness int) *Feedback[T] {
	at := site(1)
	if staleness < 1 {
		g.mistake(at, "loop %q: staleness %d: at least one value must fit", name, staleness)
		staleness = 1
	}
	l := &loop{name: name, site: at, capacity: staleness, sent: make(chan struct{}), taken: make(chan struct{})}
	if g.begun() {
		g.mistake(at, "loop %q is added to a graph that runs already: build all of it before Run", name)
	} else {
		g.loops = append(g.loops, l)
	}
	return &Feedback[T]{make(chan T, staleness), l}
}

// Between names the stages at the ends of the loop, for Check, drawings and the verdict: with a staleness of one, they and those between
// them take turns. Neither is then kept waiting for the other when that has ended.
func (f *Feedback[T]) Between(from, to string) *Feedback[T] {
	f.loop.start, f.loop.end = from, to
	return f
}

// Send gives v to the receiver, waiting while the edge is full; v is dropped when the receiver that Between names has ended. ctx is the
// one the stage's function was given, or one made of it; the error is the cause of its end.
func (f *Feedback[T]) Send(ctx context.Context, v T) error {
	f.loop.items.Add(1)
	select {
	case f.ch <- v:
		return nil
	default:
	}
	return f.waiting(ctx, func() error {
		select {
		case f.ch <- v:
			return nil
		case <-f.loop.taken:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
}

// Recv waits for the next value. The wait is booked to the calling stage as waited, not as busy. ctx is the one
// the stage's function was given, or one made of it; the error is the cause of its end, or ErrEnded.
func (f *Feedback[T]) Recv(ctx context.Context) (v T, err error) {
	select {
	case v = <-f.ch:
		return v, nil
	default:
	}
	err = f.waiting(ctx, func() error {
		select {
		case v = <-f.ch:
			return nil
		case <-f.loop.sent:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		select {
		case v = <-f.ch: // the last, sent meanwhile
			return nil
		default:
		}
		if ctx.Err() != nil { // the sender ended with the run
			return context.Cause(ctx)
		}
		return fmt.Errorf("loop %q from %q: %w", f.loop.name, f.loop.start, ErrEnded)
	})
	return v, err
}

// ends tells the loops of n that it has ended.
func (n *node) ends() {
	for _, l := range n.g.loops {
		if l.start == n.name {
			close(l.sent)
		}
		if l.end == n.name {
			close(l.taken)
		}
	}
}

// waiting runs wait, booked to the stage whose function was given ctx.
func (f *Feedback[T]) waiting(ctx context.Context, wait func() error) error {
	if w := workerOf(ctx); w != nil {
		return w.wait(f.loop, wait)
	}
	return wait()
}
