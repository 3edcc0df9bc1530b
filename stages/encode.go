package stages

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/contraflow/contraflow/ops"
)

// Tower is one network on the device: a compiled training program and the tensors it changes.
type Tower struct {
	Name    string
	Params  ops.Params
	Program ops.Program

	// Follows makes the tower a momentum encoder: it has no gradient of its own and after every update its
	// tensors become keep·own + (1-keep)·those of the tower with this index. -1 for a trained tower.
	Follows int
	Keep    float64
}

// Pass is one forward of a tower: which view of the batch it encodes.
type Pass struct {
	Tower int
	View  int
	// Shuffle encodes the samples in a random order and restores it afterwards (MoCo's shuffling batch norm). Only passes of momentum
	// encoders do.
	Shuffle bool
}

// Features are the outputs of every pass over one batch.
type Features struct {
	*Batch
	// Out is [pass][B,F]. It lives on the device's arena: read it until the gradients are sent, then let go.
	Out [][]float32
	// Snapshot is the state before this batch, present when the plan asked for one.
	Snapshot *Snapshot
}

// Gradients answer one Features: what update decided.
type Gradients struct {
	Step int
	// D is the gradient of every pass's output, nil for passes without one.
	D [][]float32
	// LR, Momentum and Decay are SGD's.
	LR, Momentum, Decay float64
	// Skip forgets this step: nothing is changed.
	Skip bool
}

// GradientSource is the feedback edge from update: Recv waits for the gradients of the step in flight.
type GradientSource interface {
	Recv(ctx context.Context) (*Gradients, error)
}

// Encode owns the device. For every batch it first applies the gradients of the batch before (backward, optimiser,
// momentum encoders) and then runs the forward passes, so that the device is busy whenever a batch is ready.
// It is used by one goroutine. It releases every batch, so all towers of a graph belong to one Encode.
type Encode struct {
	Towers    []Tower
	Passes    []Pass
	Gradients GradientSource
	Seed      uint64
	// Renderings say, for every view of a batch of pixels, what its tower's device makes of them.
	Renderings []*ops.Rendering

	// Between, if set, is called with the device idle and all weights up to date before the batch of a plan is
	// encoded: evaluation and snapshots happen here.
	Between func(ctx context.Context, next Plan) error
	// SnapshotAt, if set, says before which plans the state is copied into Features.Snapshot.
	SnapshotAt func(next Plan) bool
	// Spare, if set, gives back the memory of a snapshot that nobody needs any more, or nil.
	Spare func() *Snapshot
	// Stop, when closed, ends the stage with ErrStop before the next batch: batches that are loaded already are not encoded.
	Stop <-chan struct{}
	// SkipNaN leaves a step whose gradients are not finite out instead of ending the run, and undoes what a step that is left
	// out has done to the running statistics.
	SkipNaN bool
	// NaN, if set, is told of every step whose gradients are not finite; its error ends the run.
	NaN func(t *Trouble) error
	// Arrived, if set, is told of every pass whose output is there, and finite, while the device works on later ones. Only what
	// waits for a device behind the host's back gains by it.
	Arrived func(f *Features, pass int)

	trained  []ops.Params // of the towers that have gradients of their own
	names    []string
	norms    []float64
	skipped  int         // for gradients, in a row
	buffers  [][]float32 // of every tower, as they were before the batch in flight
	tapes    []ops.Tape  // of the batch in flight
	inflight bool
	zeroed   bool // gradients, since the last were applied
	batch    *Batch
	sparse   sparse
	shuffled []float32
	restored [][]float32 // outputs of momentum encoders, by pass
	orders   [][]int     // of passes that shuffle
}

// ErrStop ends a graph whose Encode was told to stop: everything up to the batch it was given is applied.
var ErrStop = errors.New("told to stop")

// Run encodes one batch.
func (e *Encode) Run(ctx context.Context, b *Batch) (*Features, error) {
	if e.tapes == nil {
		if err := e.check(); err != nil {
			return nil, err
		}
	}
	if err := e.settle(ctx); err != nil {
		return nil, err
	}
	if e.Between != nil && !e.stopping() {
		if err := e.Between(ctx, b.Plan); err != nil {
			return nil, err
		}
	}
	if e.stopping() {
		return nil, ErrStop
	}
	f := &Features{Batch: b, Out: make([][]float32, len(e.Passes))}
	if e.SnapshotAt != nil && e.SnapshotAt(b.Plan) {
		var old *Snapshot
		if e.Spare != nil {
			old = e.Spare()
		}
		s, err := TakeSnapshot(e.Towers, b.Plan, old)
		if err != nil {
			return nil, err
		}
		f.Snapshot = s
	}
	if e.SkipNaN {
		if err := e.eachBuffer(ops.Params.Read); err != nil {
			return nil, err
		}
	}
	e.prepare()
	for i, p := range e.Passes { // all of them, before the first is waited for: a device that works by itself has no gap between them
		if err := e.forward(i, p, b); err != nil {
			return nil, fmt.Errorf("step %d: %s: %w", b.Step, e.Towers[p.Tower].Name, err)
		}
	}
	e.inflight, e.batch = true, b
	last := len(e.Passes) - 1
	for i, p := range e.Passes {
		f.Out[i] = e.outputs(i, p, b)
		if e.Arrived != nil && i < last && finite(f.Out[i]) == 0 {
			e.Arrived(f, i)
		}
	}
	return f, nil
}

func (e *Encode) stopping() bool {
	select {
	case <-e.Stop:
		return true
	default:
		return false
	}
}

// Finish applies the gradients of the last batch. It is the stage's end hook.
func (e *Encode) Finish(ctx context.Context) error { return e.settle(ctx) }

// settle waits for the gradients of the batch in flight and applies them.
func (e *Encode) settle(ctx context.Context) error {
	if !e.inflight {
		return nil
	}
	g, err := e.Gradients.Recv(ctx)
	if err != nil {
		return err
	}
	if err := e.answer(g); err != nil {
		return err
	}
	e.inflight = false
	err = e.apply(g)
	e.batch.Release()
	e.batch = nil
	return err
}

// Backward runs the backward of one pass of the batch in flight before its Gradients come; they apply it, or forget it. It is for who
// knows one gradient while the device works on others, on the goroutine of Run: for a stage that is chained to it.
func (e *Encode) Backward(pass int, d []float32) error {
	e.forget()
	tape := e.tapes[pass]
	if tape == nil || d == nil {
		return nil
	}
	e.tapes[pass] = nil
	_, err := tape.Backward(e.sparse.gather(pass, d, e.batch))
	return err
}

// forget zeroes the gradients, once a step.
func (e *Encode) forget() {
	if e.zeroed {
		return
	}
	e.zeroed = true
	for _, t := range e.Towers {
		if t.Follows < 0 {
			t.Params.ZeroGrad()
		}
	}
}

func (e *Encode) apply(g *Gradients) error {
	e.forget()
	e.zeroed = false
	var errs []error
	for i, tape := range e.tapes {
		if tape == nil {
			continue
		}
		if g.Skip || g.D[i] == nil {
			tape.Release()
		} else if _, err := tape.Backward(e.sparse.gather(i, g.D[i], e.batch)); err != nil {
			errs = append(errs, err)
		}
		e.tapes[i] = nil
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if g.Skip {
		return e.undo()
	}
	if ok, err := e.step(g); err != nil || !ok {
		return errors.Join(err, e.undo())
	}
	for _, t := range e.Towers {
		if t.Follows >= 0 {
			if err := t.Params.Average(e.Towers[t.Follows].Params, t.Keep); err != nil {
				return err
			}
		}
	}
	return nil
}

// step looks at the gradients of every trained tower and, if all are finite, applies them.
func (e *Encode) step(g *Gradients) (ok bool, err error) {
	if e.trained == nil {
		for _, t := range e.Towers {
			if t.Follows < 0 {
				e.trained, e.names = append(e.trained, t.Params), append(e.names, t.Name)
			}
		}
	}
	joint, atOnce := e.trained[0].(ops.Joint)
	if atOnce {
		e.norms = joint.StepAll(e.trained, g.LR, g.Momentum, g.Decay)
	} else {
		e.norms = e.norms[:0]
		for _, p := range e.trained {
			e.norms = append(e.norms, p.GradNorm())
		}
	}
	for i, norm := range e.norms {
		if math.IsNaN(norm) || math.IsInf(norm, 0) {
			return false, e.trouble(g, fmt.Sprintf("the gradient of tower %s has norm %v", e.names[i], norm))
		}
	}
	e.skipped = 0
	for _, p := range e.trained {
		if !atOnce {
			p.SGD(g.LR, g.Momentum, g.Decay)
		}
	}
	return true, nil
}

// trouble tells of a step that cannot be taken; without an error it is left out.
func (e *Encode) trouble(g *Gradients, what string) error {
	t := &Trouble{Batch: e.batch, Stage: "backward", D: g.D, What: what}
	if e.NaN != nil {
		if err := e.NaN(t); err != nil {
			return err
		}
	}
	if !e.SkipNaN {
		return t
	}
	if e.skipped++; e.skipped == maxSkips {
		return fmt.Errorf("%w: %d steps in a row were left out: the weights or the data are broken", t, maxSkips)
	}
	return nil
}

// undo takes back what the batch in flight did to the running statistics, if they are kept.
func (e *Encode) undo() error {
	if !e.SkipNaN {
		return nil
	}
	return e.eachBuffer(ops.Params.Write)
}

// eachBuffer reads, or writes back, the running statistics of every tower.
func (e *Encode) eachBuffer(copyOne func(p ops.Params, name string, x []float32) error) error {
	k := 0
	for _, t := range e.Towers {
		for _, s := range t.Params.Specs() {
			if s.Role.Trainable() {
				continue
			}
			if k == len(e.buffers) {
				e.buffers = append(e.buffers, make([]float32, s.Len()))
			}
			if err := copyOne(t.Params, s.Name, e.buffers[k]); err != nil {
				return err
			}
			k++
		}
	}
	return nil
}

func (e *Encode) prepare() {
	if e.tapes == nil {
		e.tapes = make([]ops.Tape, len(e.Passes))
		e.restored = make([][]float32, len(e.Passes))
		e.orders = make([][]int, len(e.Passes))
	}
}

// forward starts one pass. Its tape is nil when no sample has its view.
func (e *Encode) forward(i int, p Pass, b *Batch) (err error) {
	if err := p.fits(i, b); err != nil {
		return err
	}
	if b.Pixels != nil {
		return e.forwardPixels(i, p, b)
	}
	x, n, t := b.Views[p.View], len(b.Index), &e.Towers[p.Tower]
	size := len(x) / n
	if some := b.some(p.View); some != nil {
		return e.forwardSome(i, p, b, some)
	}
	e.sparse.all(i)
	if p.Shuffle {
		e.orders[i] = Draw(e.Seed, b.Epoch, b.Step, PurposeShuffle).Perm(n)
		e.shuffled = grow(e.shuffled, len(x))
		for to, from := range e.orders[i] {
			copy(e.shuffled[to*size:(to+1)*size], x[from*size:])
		}
		x = e.shuffled
	}
	e.tapes[i], err = t.Program.Forward(x, n)
	return err
}

// outputs are those of a pass over the batch, in the samples' own order; tapes of momentum encoders are given back.
func (e *Encode) outputs(i int, p Pass, b *Batch) []float32 {
	tape := e.tapes[i]
	if e.sparse.partial(i) {
		return e.sparse.outputs(i, tape)
	}
	out := tape.Output(0)
	if e.Towers[p.Tower].Follows < 0 {
		return out
	}
	n := len(b.Index)
	d := len(out) / n
	e.restored[i] = grow(e.restored[i], len(out))
	for to := range n {
		from := to
		if p.Shuffle {
			from = e.orders[i][to]
		}
		copy(e.restored[i][from*d:(from+1)*d], out[to*d:(to+1)*d])
	}
	tape.Release()
	e.tapes[i] = nil
	return e.restored[i]
}

// forwardPixels runs one pass of a device that renders.
func (e *Encode) forwardPixels(i int, p Pass, b *Batch) (err error) {
	x, n := b.Pixels[p.View], len(b.Index)
	program, ok := e.Towers[p.Tower].Program.(ops.PixelProgram)
	if !ok || e.Renderings == nil {
		return fmt.Errorf("the batch holds pixels, and the device does not render: set Views.Raw only for one that does")
	}
	e.sparse.all(i)
	pictures := ops.Pictures{RGB: x, N: n}
	if b.Sent != nil {
		pictures.Sent = b.Sent[p.View]
	}
	if b.Touch != nil {
		pictures.Touch = b.Touch[p.View]
	}
	if b.Mix != nil {
		pictures.Slots, pictures.Acts = b.Mix.pictures(), b.Mix.Acts
	}
	if p.Shuffle {
		e.orders[i] = Draw(e.Seed, b.Epoch, b.Step, PurposeShuffle).Perm(n)
		pictures.Order = e.orders[i]
	}
	e.tapes[i], err = program.ForwardPixels(pictures, e.Renderings[p.View])
	return err
}

// grow returns a slice of length n, reusing s when it is large enough.
func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}
