package flows

import (
	"context"
	"time"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/ops"
)

// deviceTrace puts what the run's device does into a trace, on a row of its own: the forward and backward of every tower, its
// optimiser step, and inside them, when the device tells, every operation. The function it returns takes that back.
func (r *Run) deviceTrace(trace *contraflow.Trace) (restore func()) {
	add := func(name string, start time.Time, d time.Duration) {
		track := r.net.device.Name()
		if name == "upload" { // beside the compute
			track += " uploads"
		}
		trace.Add(contraflow.Span{Stage: "encode", Seq: -1, Track: track, Name: name, Start: start, Duration: d})
	}
	tracer, tells := r.net.device.(ops.Tracer)
	if tells {
		tracer.OnSpan(add)
	}
	if tells && tracer.Behind() { // the host's clock would only see work being queued
		return func() { tracer.OnSpan(nil) }
	}
	towers := r.towers
	r.towers = append(towers[:0:0], towers...)
	for i := range r.towers {
		t := &r.towers[i]
		t.Program = tracedProgram{t.Program, t.Name, add}
		t.Params = tracedParams{t.Params, t.Name, add}
	}
	return func() {
		r.towers = towers
		if tells {
			tracer.OnSpan(nil)
		}
	}
}

// levels samples how many batches wait in every edge of a traced run's graph. The function it returns ends that, and the device's spans.
func (r *Run) levels(ctx context.Context, g *contraflow.Graph) (done func()) {
	if r.untrace == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				r.Trace.Sample(g.Stats())
			}
		}
	}()
	return func() {
		cancel()
		<-finished
		r.untrace()
		r.untrace = nil
	}
}

// teller is told of a span.
type teller func(name string, start time.Time, d time.Duration)

func (f teller) time(name string, work func()) {
	start := time.Now()
	work()
	f(name, start, time.Since(start))
}

// tracedProgram tells of every forward and backward.
type tracedProgram struct {
	ops.Program
	tower string
	tell  teller
}

func (p tracedProgram) Forward(x []float32, n int) (t ops.Tape, err error) {
	p.tell.time("forward "+p.tower, func() { t, err = p.Program.Forward(x, n) })
	if err != nil {
		return nil, err
	}
	return tracedTape{t, p}, nil
}

type tracedTape struct {
	ops.Tape
	p tracedProgram
}

func (t tracedTape) Backward(grads ...[]float32) (g []float32, err error) {
	t.p.tell.time("backward "+t.p.tower, func() { g, err = t.Tape.Backward(grads...) })
	return g, err
}

// tracedParams tells of every optimiser step and moving average.
type tracedParams struct {
	ops.Params
	tower string
	tell  teller
}

func (p tracedParams) SGD(lr, momentum, decay float64) {
	p.tell.time("sgd "+p.tower, func() { p.Params.SGD(lr, momentum, decay) })
}

func (p tracedParams) Average(from ops.Params, keep float64) (err error) {
	if t, ok := from.(tracedParams); ok {
		from = t.Params
	}
	p.tell.time("average "+p.tower, func() { err = p.Params.Average(from, keep) })
	return err
}
