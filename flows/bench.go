package flows

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// StepBench says what to measure: whole training steps of a flow on random images, without loading.
type StepBench struct {
	Flow, Model      string
	Batch, ImageSize int
	K, N             int // negatives, and images in the memory
	Threads, Steps   int
	Softmax, Direct  bool
	Peak             bool // measure the machine first
	QueryOnly        bool // MoCo: leave the key encoder out of every step
	Device           string
	AMP, TF32        bool
	CUDAGraph        bool
	Spans            bool // tell afterwards what the device spent its time on, in steps of their own
}

// StepResult is what was measured. Times are of whole steps: forward, loss, backward, SGD, memory update.
type StepResult struct {
	ImagesPerS  float64  `json:"images_per_s"` // by the median step
	StepMS      float64  `json:"step_ms"`      // median
	StepMSMin   float64  `json:"step_ms_min"`
	StepMSMax   float64  `json:"step_ms_max"`
	QueryStepMS float64  `json:"query_step_ms,omitempty"` // MoCo without its key encoder, median
	PeakRSSMB   float64  `json:"peak_rss_mb"`
	GFLOPS      float64  `json:"gflops"`        // of convolutions and linear layers, counted directly
	ShareOfPeak *float64 `json:"share_of_peak"` // of the measured multiply-add rate; null without Peak
	PeakGFLOPS  *float64 `json:"peak_gflops,omitempty"`
	PeakGBs     *float64 `json:"peak_gb_s,omitempty"`
	ISA         string   `json:"isa,omitempty"`
	Device      string   `json:"device"`
	Threads     int      `json:"threads"`
	Spans       []Span   `json:"spans,omitempty"` // the longest first
}

// Span is a kind of work on the device, per step. Some lie within others: a conv within a forward.
type Span struct {
	Name  string  `json:"name"`
	Times float64 `json:"times"`
	MS    float64 `json:"ms"`
}

// peaker is a device that can measure its own limits.
type peaker interface {
	Peak() (flops, bandwidth float64)
	ISA() string
}

// Check reports the first setting that cannot be measured.
func (s StepBench) Check() error {
	_, err := s.options()
	return err
}

// measured refuses a flow without a bank, or without a name.
func measured(flag, flow string) error {
	if !slices.Contains(strings.Fields(contrasts), flow) {
		return fmt.Errorf("--%s %q: choose cmc, moco or insdis", flag, flow)
	}
	return nil
}

// inBatch speaks of --batch, as the benches call it, where training says --batch_size.
func inBatch(err error) error {
	if err == nil || !strings.Contains(err.Error(), "--batch_size") {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), "--batch_size", "--batch"))
}

// Run measures.
func (s StepBench) Run() (StepResult, error) {
	res, err := s.run()
	return res, inBatch(err)
}

func (s StepBench) run() (StepResult, error) {
	res := StepResult{}
	o, err := s.options()
	if err != nil {
		return res, err
	}
	if s.Threads > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(s.Threads))
	}
	device, err := openDevice(o)
	if err != nil {
		return res, err
	}
	defer device.Close()
	res.Device = device.Name()
	p, measures := device.(peaker)
	if measures {
		res.ISA = p.ISA()
	}
	var flops float64
	if s.Peak && measures {
		var bandwidth float64
		flops, bandwidth = p.Peak()
		flops, bandwidth = flops/1e9, bandwidth/1e9
		res.PeakGFLOPS, res.PeakGBs = &flops, &bandwidth
	}
	b, err := newStepper(s, o, device)
	if err != nil {
		return res, err
	}
	if s.QueryOnly {
		d := b.r.towers[0].Program.OutputShape(0).Len()
		b.key = make([]float32, s.Batch*d)
		for i := range b.key {
			b.key[i] = float32(b.rng.NormFloat64() / math.Sqrt(float64(d)))
		}
	}
	whole, err := b.time(s.Steps, s.QueryOnly)
	if err != nil {
		return res, err
	}
	res.Threads = runtime.GOMAXPROCS(0)
	res.StepMS, res.StepMSMin, res.StepMSMax = median(whole), slices.Min(whole), slices.Max(whole)
	res.ImagesPerS = 1000 * float64(s.Batch) / res.StepMS
	res.GFLOPS = b.flops(s.QueryOnly) / 1e6 / res.StepMS
	switch {
	case s.QueryOnly:
		res.QueryStepMS = res.StepMS
	case s.Flow == "moco":
		query, err := b.time(s.Steps, true)
		if err != nil {
			return res, err
		}
		res.QueryStepMS = median(query)
	}
	if s.Spans {
		if res.Spans, err = b.spans(device, s.Steps, s.QueryOnly); err != nil {
			return res, err
		}
	}
	if flops > 0 {
		share := res.GFLOPS / flops
		res.ShareOfPeak = &share
	}
	res.PeakRSSMB = peakMemory()
	return res, nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// holder is a program that can keep a batch on its device, so that a step is measured without its upload.
type holder interface {
	Hold(x []float32, n int) (forward func() (ops.Tape, error), err error)
}

// stepper does the steps of a run one after another, without a graph.
type stepper struct {
	r     *Run
	batch *stages.Batch
	rng   *rand.Rand
	n     int
	key   []float32
	step  int
	held  []func() (ops.Tape, error) // by pass, nil without a holder

	tapes   []ops.Tape // of the step, by pass
	scores  stages.Scores
	d       [1][]float32
	arrived func(f *stages.Features, pass int) // may be nil
}

// options are those of the run whose steps are measured.
func (s StepBench) options() (Options, error) {
	if err := measured("flow", s.Flow); err != nil {
		return Options{}, err
	}
	if s.Steps < 1 {
		return Options{}, fmt.Errorf("--steps %d: want at least one", s.Steps)
	}
	if s.QueryOnly && s.Flow != "moco" {
		return Options{}, fmt.Errorf("--query_only: --flow %s has no key encoder: only moco has", s.Flow)
	}
	o := Defaults(s.Flow)
	o.Net.Model, o.Net.Threads, o.Net.Direct, o.Data.ImageSize = s.Model, s.Threads, s.Direct, s.ImageSize
	o.Optim.BatchSize, o.Loss.K, o.Loss.Softmax = s.Batch, s.K, s.Softmax
	o.Net.Device, o.Net.AMP, o.Net.TF32, o.Net.CUDAGraph = s.Device, s.AMP, s.TF32, s.CUDAGraph
	if err := Validate(o); err != nil {
		return o, inBatch(err)
	}
	if s.N < s.Batch {
		return o, fmt.Errorf("--n_data %d: want at least a batch of %d", s.N, s.Batch)
	}
	return o, fits(o, s.N)
}

// newStepper makes networks, bank and a batch of random views.
func newStepper(s StepBench, o Options, device ops.Device) (*stepper, error) {
	r := &Run{o: o}
	model, err := modelOf(o)
	if err != nil {
		return nil, err
	}
	if r.views, err = viewsOf(o, model); err != nil {
		return nil, err
	}
	if r.net, err = newNetwork(o, device, model, r.views.channels()); err != nil {
		return nil, err
	}
	if err := r.compile(); err != nil {
		return nil, err
	}
	if err := r.objectiveOf(s.N, r.towers[0].Program.OutputShape(0).Len()); err != nil {
		return nil, err
	}
	b := &stepper{r: r, rng: rand.New(rand.NewPCG(1, 2)), n: s.N, batch: &stages.Batch{}}
	for _, g := range r.net.graphs {
		shape := g.Shape(g.Input())
		for range max(1, r.views.crops) {
			x := make([]float32, s.Batch*shape.Len())
			for i := range x {
				x[i] = float32(b.rng.NormFloat64())
			}
			b.batch.Views = append(b.batch.Views, x)
		}
	}
	b.batch.Index = make([]int, s.Batch)
	b.tapes = make([]ops.Tape, len(r.passes))
	b.scores.Features = &stages.Features{Batch: b.batch, Out: make([][]float32, len(r.passes))}
	if c := r.cmc(); c != nil && r.behind() { // as in training
		b.arrived, c.ready = c.arrived, b.backward
	}
	return b, nil
}

// flops of a step: three times the forward of every trained tower, once that of a momentum encoder.
func (b *stepper) flops(query bool) (sum float64) {
	for _, t := range b.r.towers {
		if t.Follows >= 0 && query {
			continue
		}
		s := t.Program.Stats()
		sum += s.ForwardFLOPs
		if t.Follows < 0 {
			sum += s.BackwardFLOPs
		}
	}
	return sum
}

// time returns the milliseconds of every step after one to warm up. query leaves momentum encoders out.
func (b *stepper) time(steps int, query bool) ([]float64, error) {
	var out []float64
	for i := range steps + 1 {
		t := time.Now()
		if err := b.once(query); err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, 1000*time.Since(t).Seconds())
		}
	}
	return out, nil
}

// spans takes steps once more while the device tells what it does.
func (b *stepper) spans(device ops.Device, steps int, query bool) ([]Span, error) {
	tracer, ok := device.(ops.Tracer)
	if !ok {
		return nil, fmt.Errorf("--spans: %s does not tell what it does", device.Name())
	}
	sums := map[string]*Span{}
	tracer.OnSpan(func(name string, _ time.Time, d time.Duration) {
		s := sums[name]
		if s == nil {
			s = &Span{Name: name}
			sums[name] = s
		}
		s.Times += 1 / float64(steps)
		s.MS += 1000 * d.Seconds() / float64(steps)
	})
	var err error
	for range steps {
		if err = b.once(query); err != nil {
			break
		}
	}
	tracer.OnSpan(nil)
	var out []Span
	for _, s := range sums {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b Span) int { return cmp.Or(cmp.Compare(b.MS, a.MS), cmp.Compare(a.Name, b.Name)) })
	return out, err
}

// forward runs pass i, on a batch that stays on the device where it can.
func (b *stepper) forward(i int) (ops.Tape, error) {
	p := b.r.passes[i]
	program, x, n := b.r.towers[p.Tower].Program, b.batch.Views[p.View], len(b.batch.Index)
	h, ok := program.(holder)
	if !ok {
		return program.Forward(x, n)
	}
	if b.held == nil {
		b.held = make([]func() (ops.Tape, error), len(b.r.passes))
	}
	if b.held[i] == nil {
		var err error
		if b.held[i], err = h.Hold(x, n); err != nil {
			return nil, err
		}
	}
	return b.held[i]()
}

// backward runs the backward of a pass, once a step.
func (b *stepper) backward(pass int, d []float32) error {
	tape := b.tapes[pass]
	b.tapes[pass] = nil
	switch {
	case tape == nil:
		return nil
	case d == nil:
		tape.Release()
		return nil
	}
	b.d[0] = d
	_, err := tape.Backward(b.d[:]...)
	return err
}

func (b *stepper) once(query bool) error {
	for i := range b.batch.Index {
		b.batch.Index[i] = b.rng.IntN(b.n)
	}
	b.batch.Step = b.step
	b.step++
	towers := b.r.towers
	s := &b.scores
	s.Loss, s.Values = 0, s.Values[:0]
	clear(b.tapes)
	for i, p := range b.r.passes {
		t := towers[p.Tower]
		if t.Follows >= 0 && query {
			s.Out[i] = b.key
			continue
		}
		tape, err := b.forward(i)
		if err != nil {
			return err
		}
		b.tapes[i] = tape
	}
	for i, tape := range b.tapes { // when all passes are on their way, as encode does it
		if tape == nil {
			continue
		}
		s.Out[i] = tape.Output(0)
		if towers[b.r.passes[i].Tower].Follows >= 0 {
			b.key = append(b.key[:0], s.Out[i]...)
		}
		if b.arrived != nil && i < len(b.tapes)-1 {
			b.arrived(s.Features, i)
		}
	}
	for _, t := range towers {
		if t.Follows < 0 {
			t.Params.ZeroGrad()
		}
	}
	if err := b.r.objective.Score(s); err != nil {
		return err
	}
	for i := range b.tapes {
		if err := b.backward(i, s.D[i]); err != nil {
			return err
		}
	}
	o := b.r.o.Optim
	for _, t := range towers {
		if t.Follows < 0 {
			t.Params.SGD(o.LR, o.Momentum, o.WeightDecay)
		}
	}
	for _, t := range towers {
		if t.Follows >= 0 && !query {
			if err := t.Params.Average(towers[t.Follows].Params, t.Keep); err != nil {
				return err
			}
		}
	}
	return nil
}
