package contraflow

import (
	"context"
	"sync"
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
	holds   int  // items that a foreign flow takes at most before it gives one
	loops   []func(ctx context.Context) error
	ended   atomic.Int32 // of loops
	workers []worker
	gate    *gate       // of a step that may have several workers
	refused func()      // frees the foreign neighbours of a stage that will not run
	late    bool        // added to a running graph, which knows nothing of it
	exited  atomic.Bool // a call has neither returned an error nor a result

	ledger  ledger
	items   atomic.Int64
	latency histogram
}

// worker is one goroutine that calls a stage's function. The context of a call knows it, so that a wait on a feedback edge
// is booked to the stage that waits, and a device's spans find the graph's trace.
type worker struct {
	n     *node
	id    int
	seq   atomic.Int64 // of the item in hand
	began atomic.Int64 // when the call began, on the graph's clock, plus one and the waits; 0 when there is none or it waits
	turn  atomic.Int64 // counts beginnings and ends of calls: odd within one

	mu     sync.Mutex // of what follows
	start  int64      // of the call
	waits  int        // on feedback edges, under way
	since  int64      // when the first of them began
	on     *loop      // the edge of the first
	waited int64      // ns of this call in which one was under way
	ended  int64      // when the last call did
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

// call runs f on item seq and counts it; after it the idle workers are in mode then.
func (n *node) call(id int, seq int64, then mode, f func() error) error {
	d, err := n.book(id, seq, then, f)
	n.count(d)
	return err
}

// count counts an item that took d.
func (n *node) count(d time.Duration) {
	n.items.Add(1)
	n.latency.add(d)
}

// book runs f and books the time as busy; d is that without waits on feedback edges.
func (n *node) book(id int, seq int64, then mode, f func() error) (d time.Duration, err error) {
	w, t := &n.workers[id], n.g.now()
	n.ledger.move(t, 1, 0)
	w.seq.Store(seq)
	w.begin(t)
	returned := false
	defer func() {
		if !returned { // f panicked, or ended its goroutine
			n.exited.Store(true)
			now := n.g.now()
			w.end(now)
			n.ledger.leave(now, done)
		}
	}()
	if n.g.before != nil {
		n.g.before(n.name, seq)
	}
	err = f()
	returned = true
	end := n.g.now()
	waited := w.end(end)
	n.ledger.leave(end, then)
	if n.g.trace != nil {
		n.g.trace(Span{Stage: n.name, Worker: id, Seq: seq, Start: n.g.begin.Add(time.Duration(t)), Duration: time.Duration(end - t)})
	}
	return time.Duration(end - t - waited), err
}

func (w *worker) begin(t int64) {
	w.mu.Lock()
	w.start, w.waited = t, 0
	w.turn.Add(1)
	w.mu.Unlock()
	w.began.Store(t + 1)
}

// end tells how long the call waited. A goroutine that it left behind may wait on, which is booked no more.
func (w *worker) end(now int64) (waited int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waits > 0 {
		w.waits, w.waited = 0, w.waited+now-w.since
		w.n.ledger.move(now, 1, -1)
	}
	w.turn.Add(1)
	w.ended = now
	w.began.Store(0)
	return w.waited
}

// wait books what f takes as waiting on a feedback edge. A call may wait on several at once, on goroutines of its own: it waits
// from the first to the last.
func (w *worker) wait(on *loop, f func() error) error {
	call := w.turn.Load()
	w.waiting(on, call, 1)
	defer w.waiting(on, call, -1)
	return f()
}

// waiting changes how many goroutines of a call wait, unless the call is over.
func (w *worker) waiting(on *loop, call int64, more int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if call%2 == 0 || call != w.turn.Load() {
		return
	}
	now, before := w.n.g.now(), w.waits
	switch w.waits += more; {
	case before == 0:
		w.since, w.on = now, on
		w.began.Store(0)
		w.n.ledger.move(now, -1, 1)
	case w.waits == 0:
		w.waited += now - w.since
		w.began.Store(w.start + w.waited + 1)
		w.n.ledger.move(now, 1, -1)
	}
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

// discard takes what is left of an edge.
func (n *node) discard(ctx context.Context, e *edge) error {
	for {
		if _, ok, err := n.next(ctx, e); err != nil || !ok {
			return err
		}
	}
}

// next is recv with the time booked as starved.
func (n *node) next(ctx context.Context, e *edge) (any, bool, error) {
	n.ledger.rest(n.g.now(), starved)
	return e.recv(ctx)
}
