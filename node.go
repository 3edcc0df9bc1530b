package contraflow

import (
	"context"
	"sync/atomic"
	"time"
)

// node is the untyped half of a stage: its name, its edges, the goroutines that Run starts, and its numbers.
type node struct {
	g       *Graph
	name    string
	kind    string // source, step, filter, fork, zip, each, through, from, to
	site    string // the user's line
	ins     []*edge
	outs    []*edge
	most    int  // largest number of workers
	scales  bool // several workers were asked for, or allowed
	holds   int  // items that a foreign flow keeps before it gives one
	loops   []func(ctx context.Context) error
	ended   atomic.Int32 // of loops
	workers []worker
	gate    *gate // of a step that may have several workers

	ledger  ledger
	items   atomic.Int64
	latency histogram
}

// worker is one goroutine that calls a stage's function. The context of a call knows it, so that a wait on a feedback edge
// is booked to the stage that waits, and a device's spans find the graph's trace.
type worker struct {
	n      *node
	id     int
	seq    atomic.Int64 // of the item in hand
	waited int64        // ns of this call spent on feedback edges
	began  atomic.Int64 // when the call began, on the graph's clock, plus one; 0 when there is none or it waits
}

type workerKey struct{}

// workerOf is the worker that a stage's function was called by, nil outside of a graph.
func workerOf(ctx context.Context) *worker {
	w, _ := ctx.Value(workerKey{}).(*worker)
	return w
}

// start spawns the node's goroutines.
func (n *node) start(ctx context.Context) {
	ctx = n.as(ctx, 0)
	for _, f := range n.loops {
		n.g.spawn(n, ctx, f)
	}
}

// as is ctx for worker id.
func (n *node) as(ctx context.Context, id int) context.Context {
	return context.WithValue(ctx, workerKey{}, &n.workers[id])
}

// call runs f on item seq and books the time as busy; after it the idle workers are in mode then.
func (n *node) call(id int, seq int64, then mode, f func() error) error {
	w, t := &n.workers[id], n.g.now()
	n.ledger.move(t, 1, 0)
	w.seq.Store(seq)
	w.waited = 0
	w.began.Store(t + 1)
	returned := false
	defer func() {
		if !returned { // f panicked
			w.began.Store(0)
			n.ledger.leave(n.g.now(), done)
		}
	}()
	if n.g.before != nil {
		n.g.before(n.name, seq)
	}
	err := f()
	returned = true
	end := n.g.now()
	w.began.Store(0)
	n.ledger.leave(end, then)
	n.items.Add(1)
	n.latency.add(time.Duration(end - t - w.waited))
	if n.g.trace != nil {
		n.g.trace(Span{Stage: n.name, Worker: id, Seq: seq, Start: n.g.begin.Add(time.Duration(t)), Duration: time.Duration(end - t)})
	}
	return err
}

// wait books what f takes as waiting on a feedback edge.
func (w *worker) wait(f func() error) error {
	g, t := w.n.g, w.n.g.now()
	w.n.ledger.move(t, -1, 1)
	began := w.began.Swap(0)
	err := f()
	end := g.now()
	w.waited += end - t
	w.began.Store(began + end - t)
	w.n.ledger.move(end, 1, -1)
	return err
}

// edge is a bounded channel between two nodes. Its elements are the bare values, as go-streams wants them.
type edge struct {
	ch       chan any
	from, to *node
	site     string
	inline   func(ctx context.Context, v any) error // of a chained reader: takes an item on the sender's goroutine

	items, occupancy, full, empty atomic.Int64
}

// send hands v on, waiting for room.
func (e *edge) send(ctx context.Context, v any) error {
	n := int64(len(e.ch))
	e.items.Add(1)
	e.occupancy.Add(n)
	switch n {
	case 0:
		e.empty.Add(1)
	case int64(cap(e.ch)):
		e.full.Add(1)
	}
	if e.inline != nil {
		return e.inline(ctx, v)
	}
	select {
	case e.ch <- v:
		return nil
	default:
	}
	select {
	case e.ch <- v:
		return nil
	case <-ctx.Done():
		return errDone
	}
}

// recv takes the next value, waiting for one. ok is false at the end of the stream.
func (e *edge) recv(ctx context.Context) (v any, ok bool, err error) {
	select {
	case v, ok = <-e.ch:
	default:
		select {
		case v, ok = <-e.ch:
		case <-ctx.Done():
			return nil, false, errDone
		}
	}
	// A stream that closes because the run failed is not a complete one.
	if !ok && ctx.Err() != nil {
		return nil, false, errDone
	}
	return v, ok, nil
}

// next is recv with the time booked as starved.
func (n *node) next(ctx context.Context, e *edge) (any, bool, error) {
	n.ledger.rest(n.g.now(), starved)
	return e.recv(ctx)
}
