//go:build cuda

package cuda

import (
	"fmt"

	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops"
)

// tape is one forward pass: its activations, and its outputs on the way to the host.
type tape struct {
	pr      *program
	n       int
	memory  cu.DevicePtr
	outs    cu.DevicePtr // all outputs, float [n,C,H,W] one after another
	host    *pinned
	done    cu.Event // outputs have arrived
	arrived bool
	active  bool

	forward, backward *recording
}

// take returns an idle tape, or makes one.
func (pr *program) take() (*tape, error) {
	if k := len(pr.free); k > 0 {
		t := pr.free[k-1]
		pr.free = pr.free[:k-1]
		return t, nil
	}
	t := &tape{pr: pr, forward: pr.own.recording(), backward: pr.own.recording()}
	var err error
	if t.memory, err = pr.own.alloc(pr.tapeSize, fmt.Sprintf("the activations of a batch of %d", pr.Options.Batch), lowerBatch); err != nil {
		return nil, err
	}
	if t.outs, err = pr.own.alloc(pr.outSize, "outputs", lowerBatch); err != nil {
		return nil, err
	}
	if t.host, err = pr.own.pin(int(pr.outSize)); err != nil {
		return nil, err
	}
	t.done, err = pr.own.event()
	return t, err
}

// at is the device address of a value or other place on the tape.
func (t *tape) at(l *life) cu.DevicePtr {
	if l == nil {
		return 0
	}
	return at(t.memory, l.at)
}

func (t *tape) value(v ops.Value) cu.DevicePtr { return t.at(t.pr.values[v]) }

// offset is where output i begins, in bytes.
func (pr *program) offset(i int) (n int64) {
	for k := range i {
		n += roundUp(int64(4*pr.Options.Batch*pr.OutputShape(k).Len()), 256)
	}
	return n
}

// Output is output i of the pass; it waits for it.
func (t *tape) Output(i int) []float32 {
	if !t.arrived {
		t.pr.d.tell(false)
		if err := t.pr.d.meet(t.done); err != nil {
			t.pr.d.post(func() error { return err })
		}
		t.arrived = true
	}
	return t.host.floats()[t.pr.offset(i)/4:][:t.n*t.pr.OutputShape(i).Len()]
}

// Release gives the tape back. Work on the stream may still read it, and what uses it next comes after that.
func (t *tape) Release() {
	if t.active {
		t.active = false
		t.pr.free = append(t.pr.free, t)
	}
}
