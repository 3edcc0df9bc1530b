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
	workers int
	most    int  // largest number of workers
	scales  bool // several workers were asked for, or allowed
	holds   int  // items that a foreign flow keeps before it gives one
	loops   []func(ctx context.Context) error

	meter   meter
	allowed atomic.Int32 // workers that may be busy at once
	wake    *sync.Cond   // waits for allowed and active
	active  int
	clocks  []atomic.Int64 // per worker: when its present call began, in ns since the epoch; 0 when idle
}

// start spawns the node's goroutines with a context that knows the node, so that a wait on a feedback edge is booked
// to the stage that waits.
func (n *node) start(ctx context.Context) {
	ctx = context.WithValue(ctx, meterKey{}, &n.meter)
	for _, f := range n.loops {
		n.g.spawn(n, ctx, f)
	}
}

// call runs f on one item and books the time as busy.
func (n *node) call(worker int, seq int64, f func() error) error {
	t := time.Now()
	n.meter.first.CompareAndSwap(0, t.UnixNano())
	n.clocks[worker].Store(t.UnixNano())
	err := f()
	d := time.Since(t)
	n.clocks[worker].Store(0)
	n.meter.busy.Add(int64(d))
	n.meter.items.Add(1)
	n.meter.latency.add(d)
	if n.g.trace != nil {
		n.g.trace(Span{Stage: n.name, Worker: worker, Seq: seq, Start: t, Duration: d})
	}
	return err
}

// edge is a bounded channel between two nodes. Its elements are the bare values, as go-streams wants them.
type edge struct {
	ch       chan any
	from, to *node
	site     string

	items, occupancy, full, empty atomic.Int64
}

// send hands v on, booking the time it waits as blocked.
func (e *edge) send(ctx context.Context, m *meter, v any) error {
	n := int64(len(e.ch))
	e.items.Add(1)
	e.occupancy.Add(n)
	switch n {
	case 0:
		e.empty.Add(1)
	case int64(cap(e.ch)):
		e.full.Add(1)
	}
	select {
	case e.ch <- v:
		return nil
	default:
	}
	t := time.Now()
	defer func() { m.blocked.Add(int64(time.Since(t))) }()
	select {
	case e.ch <- v:
		return nil
	case <-ctx.Done():
		return errDone
	}
}

// recv takes the next value, booking the time it waits as starved. ok is false at the end of the stream.
func (e *edge) recv(ctx context.Context, m *meter) (v any, ok bool, err error) {
	select {
	case v, ok = <-e.ch:
	default:
		t := time.Now()
		select {
		case v, ok = <-e.ch:
		case <-ctx.Done():
			err = errDone
		}
		m.starved.Add(int64(time.Since(t)))
	}
	// A stream that closes because the run failed is not a complete one.
	if !ok && ctx.Err() != nil {
		return nil, false, errDone
	}
	return v, ok, err
}
