//go:build cuda

package cuda

import (
	"cmp"
	"fmt"

	"github.com/contraflow/contraflow/ops/cuda/driver"
)

// recording is a stretch of work on the compute stream as a CUDA graph: what was put there once is launched again in one call. It
// holds addresses, so it belongs to one tape and one batch size, and ends when a shared buffer moves.
type recording struct {
	graph  driver.Graph
	ready  bool
	warm   bool   // the work has run as it is: engines are chosen, buffers have grown
	moves  uint64 // Device.moves when that was
	n      int    // samples
	before []bool // which gradients held something before the work, and after it
	after  []bool
}

// record does work, or launches what it recorded of an earlier pass; replayed says that work itself was not called. Without
// Options.Graphs, and while spans are taken, which need events inside, work is called as it is.
func (d *Device) record(r *recording, n int, work func() error) (replayed bool, err error) {
	if !d.o.Graphs || d.spans.Load() != nil {
		return false, work()
	}
	if r.n != n || r.moves != d.moves {
		r.drop()
		r.n = n
	}
	switch {
	case r.ready:
		d.replays++
		return true, r.launch(d)
	case !r.warm:
		err := work()
		r.warm, r.moves = err == nil, d.moves
		return false, err
	}
	if err := driver.BeginCapture(d.compute); err != nil {
		return false, fmt.Errorf("--cuda_graph: begin to record: %w", err)
	}
	err = work()
	graph, endErr := driver.EndCapture(d.compute)
	if err = cmp.Or(err, endErr); err != nil {
		graph.Destroy()
		return false, fmt.Errorf("--cuda_graph: record: %w", err)
	}
	r.graph, r.ready = graph, true
	return false, r.launch(d)
}

func (r *recording) launch(d *Device) error {
	if err := r.graph.Launch(d.compute); err != nil {
		return fmt.Errorf("--cuda_graph: launch: %w", err)
	}
	return nil
}

// drop forgets what was recorded.
func (r *recording) drop() {
	if r.ready {
		r.graph.Destroy()
	}
	*r = recording{}
}

// Replays is how many stretches of work were launched as graphs.
func (d *Device) Replays() (n int) {
	d.later(func() error { n = d.replays; return nil })
	return n
}
