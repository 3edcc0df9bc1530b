package flows

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// ErrStopped says that a run was asked to stop, finished its step and saved a checkpoint.
var ErrStopped = errors.New("stopped after a checkpoint")

// objective is a method's loss and bank.
type objective interface {
	stages.Objective
	Restore(get func(name string, n int) ([]float32, error)) error
}

// Run is one training run: everything that is opened, made and checked before its graph starts.
type Run struct {
	o         Options
	Dir       string // run folder; what --resume names of a run that is at its end elsewhere
	data      stages.Dataset
	decoder   *jpeg.Decoder
	views     views
	model     encoders.Model
	net       *network
	towers    []stages.Tower
	passes    []stages.Pass
	objective objective
	sampler   stages.Sampler
	rendered  []*ops.Rendering // by view, when the device renders
	decode    *stages.Decode
	lock      *checkpoint.Lock

	fingerprint Fingerprint
	monitor     *Monitor // of --knn_every; its images are not loaded yet

	// Warnings are lines on what was given and is not what happens.
	Warnings []string

	// Observe, if set, is told of every step, on the goroutine of the meter stage.
	Observe func(r *stages.Report)
	// EndOfEpoch, if set, is told of an epoch's last step and averages, after Observe.
	EndOfEpoch func(r *stages.Report, a Averages)
	// Between, if set, runs on the device's goroutine before the first batch of every epoch after the first.
	Between func(ctx context.Context, epoch int) error
	// OnSkip, if set, is told of every step that --on_nan skip leaves out. It may be called from two goroutines.
	OnSkip func(step int, why string)
	// BeforeSave, if set, runs before a checkpoint is written, on the goroutine that writes it.
	BeforeSave func() error
	// FS is where checkpoints are written; nil is the disk.
	FS checkpoint.FS
	// GraphOptions, if any, set up the graphs that the run builds, after what its own options say: traces, probes.
	GraphOptions []contraflow.Option
	// Trace, if set before the graph is built, gets the spans of its stages and of the device, and the levels of its edges.
	Trace *contraflow.Trace
	// Tuned, if set, is told when --autotune gives a stage another number of workers.
	Tuned func(stage string, workers int)
	// Stuck, if set, is told of a call of a stage that goes on for longer than --watchdog.
	Stuck func(s contraflow.Stuck)
	// Stop, when closed, ends the run after the step in flight, with a checkpoint.
	Stop <-chan struct{}

	// Moved is where an earlier run of the same name was put, whose folder this run takes; empty if there was none.
	Moved string

	graph    *contraflow.Graph
	untrace  func() // ends what Trace began, nil without
	encode   *stages.Encode
	averages Averages
	spares   chan *stages.Snapshot
	metered  atomic.Int64  // steps that meter has seen, those before a resumed run included
	ticked   chan struct{} // tells of a change of metered
	dumps    atomic.Int32  // batches kept because of numbers that are not finite
}

// Prepare opens data, decoder and device, makes networks and bank, takes the run folder and restores a checkpoint if one is
// asked for. Nothing is written before everything has been checked. A run from a checkpoint elsewhere that is at its end already
// takes no folder. Close ends what it opened.
func Prepare(o Options) (*Run, error) {
	r := &Run{o: o}
	if err := r.open(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Run) open() error {
	if err := r.openLoading(); err != nil {
		return err
	}
	if err := fits(r.o, r.data.Len()); err != nil {
		return err
	}
	o := r.o
	device, err := openDevice(o)
	if err != nil {
		return err
	}
	r.net = &network{device: device}
	if r.net, err = newHeaded(o, device, r.model, r.views.channels(), r.head(r.model)); err != nil {
		device.Close()
		return err
	}
	if err := r.compile(); err != nil {
		return err
	}
	if err := r.objectiveOf(r.data.Len(), r.towers[0].Program.OutputShape(0).Len()); err != nil {
		return err
	}
	r.fingerprint = fingerprint(r.data, r.decoder.Name())
	if o.Run.KNNEvery > 0 {
		if r.monitor, err = openMonitor(r); err != nil {
			return fmt.Errorf("--knn_every: %w", err)
		}
	}
	if o.Run.TBPath != "" {
		if err := usable(filepath.Join(o.Run.TBPath, RunName(o))); err != nil {
			return fmt.Errorf("--tb_path: %w", err)
		}
	}
	r.Dir = filepath.Join(o.Run.ModelPath, RunName(o))
	goesOn := o.Run.Resume == "auto" || within(r.Dir, o.Run.Resume)
	if !goesOn {
		if err := r.resume(); err != nil {
			return err
		}
		if r.Done() { // it is what it was
			r.Dir = o.Run.Resume
			return nil
		}
	}
	if r.lock, err = checkpoint.Acquire(r.Dir); err != nil {
		return fmt.Errorf("--model_path: %w", err)
	}
	if !goesOn {
		if r.Moved, r.lock, err = makeRoom(r.Dir, r.lock); err != nil {
			return fmt.Errorf("--model_path: %w", err)
		}
		return nil
	}
	return r.resume()
}

// compile plans the training programs and lists the passes of a step.
func (r *Run) compile() error {
	o := ops.Options{Batch: r.o.Optim.BatchSize, Train: true, BNGroups: r.o.Net.BNGroups, Outputs: []string{r.output()}, Direct: r.o.Net.Direct}
	for i, g := range r.net.graphs {
		p, err := r.net.device.Compile(g, r.net.params[i], o)
		if err != nil {
			return err
		}
		r.towers = append(r.towers, stages.Tower{Name: r.views.names[i], Params: r.net.params[i], Program: p, Follows: -1})
		r.passes = append(r.passes, stages.Pass{Tower: i, View: i})
	}
	if r.o.Method != "moco" {
		return nil
	}
	if r.unmixes() {
		r.passes = append(r.passes, stages.Pass{Tower: 0, View: 2})
	}
	// The key encoder starts as a copy of the query encoder's parameters; its buffers are its own.
	key, err := r.net.device.NewParams(r.net.graphs[0])
	if err != nil {
		return err
	}
	if err := key.Average(r.net.params[0], 0); err != nil {
		return err
	}
	o.NoGrad = true
	p, err := r.net.device.Compile(r.net.graphs[0], key, o)
	if err != nil {
		return err
	}
	r.towers = append(r.towers, stages.Tower{Name: "key", Params: key, Program: p, Follows: 0, Keep: r.o.Net.Alpha})
	r.passes = slices.Insert(r.passes, 1, stages.Pass{Tower: 1, View: 1, Shuffle: true})
	return nil
}

// objectiveOf makes the loss and the bank for n images and embeddings of dimension d.
func (r *Run) objectiveOf(n, d int) (err error) {
	switch r.o.Method {
	case "cmc":
		r.objective, err = NewCMC(r.o, r.views.names, n, d)
	case "moco":
		r.objective, err = NewMoCo(r.o, n, d)
	case "insdis":
		r.objective, err = NewInsDis(r.o, n, d)
	case "predict":
		r.objective = NewPredictive(r.o.Loss.Predict == "L1")
	case "supervised":
		r.objective = NewSupervised(len(r.data.Classes()))
	default:
		err = fmt.Errorf("there is no method %q: choose cmc, moco, insdis, predict or supervised", r.o.Method)
	}
	if m, moves := r.objective.(interface{ moveTo(ops.Banker) error }); moves && err == nil {
		if d, ok := r.net.device.(ops.Banker); ok {
			err = m.moveTo(d)
		}
	}
	return err
}

// Close gives the run folder and the device back.
func (r *Run) Close() error {
	var errs []error
	if r.lock != nil {
		errs = append(errs, r.lock.Release())
	}
	if r.net != nil {
		errs = append(errs, r.net.device.Close())
	}
	return errors.Join(errs...)
}

// Graph builds the run's graph:
//
//	sampler ─▶ decode ─▶ views ─▶ encode ─▶ contrast ─▶ update ─▶ meter ─▶ save
//	                                ▲                      │
//	                                └────── gradients ─────┘
//
// With --IM a stage "partners" between sampler and decode draws the mixture, and a stage "mixture" after views carries it
// out.
func (r *Run) Graph() *contraflow.Graph {
	var opts []contraflow.Option
	if r.o.Data.Autotune {
		opts = append(opts, contraflow.WithAutotune(r.budget(), time.Second, r.Tuned))
	}
	if r.o.Run.Watchdog > 0 && r.Stuck != nil {
		opts = append(opts, contraflow.WithWatchdog(time.Duration(r.o.Run.Watchdog*float64(time.Second)), r.Stuck))
	}
	if r.Trace != nil {
		opts = append(opts, contraflow.WithTrace(r.Trace.Add))
		r.untrace = r.deviceTrace(r.Trace)
	}
	g := contraflow.New(r.o.Method, append(opts, r.GraphOptions...)...)
	r.compute(g, r.loading(g))
	r.graph = g
	return g
}

// rankEvery is how many steps lie between two ranks of the embeddings.
const rankEvery = 50

// compute adds the half of the graph that learns: encode, contrast, update, meter and save.
func (r *Run) compute(g *contraflow.Graph, batches contraflow.Port[*stages.Batch]) {
	o := r.o
	r.spares, r.ticked = make(chan *stages.Snapshot, 1), make(chan struct{}, 1)
	r.metered.Store(int64(r.sampler.Start))
	gradients := contraflow.Loop[*stages.Gradients](g, "gradients", 1).Between("update", "encode")
	skip := o.Run.OnNaN == "skip"
	r.encode = &stages.Encode{Towers: r.towers, Passes: r.passes, Gradients: gradients, Seed: uint64(o.Run.Seed), Renderings: r.renderings(),
		Between: r.between, SnapshotAt: r.snapshotAt, Spare: r.spare, SkipNaN: skip, NaN: r.trouble}
	contrast := &stages.Contrast{Objective: r.objective}
	update := &stages.Update{LR: func(p stages.Plan) float64 { return o.Optim.Rate(p.Epoch) }, Momentum: o.Optim.Momentum,
		Decay: o.Optim.WeightDecay, SkipNaN: skip, NaN: r.trouble, Passes: r.passNames(), Gradients: gradients}
	if o.Method != "predict" && o.Method != "supervised" { // their outputs are no embeddings
		update.Health = stages.NewHealth(r.measured(), rankEvery)
	}
	var turn []contraflow.StageOption
	if r.behind() { // the device stands still from a pass's outputs until their gradients
		turn = append(turn, contraflow.Chained())
		if c := r.cmc(); c != nil { // one view is scored while the other is encoded, and goes back while the other is scored
			r.encode.Arrived, c.ready = c.arrived, r.encode.Backward
		}
	}

	if device, ok := r.net.device.(ops.Sender); ok && r.renderings() != nil {
		batches = contraflow.Step(batches, "upload", (&stages.Upload{Device: device}).Run, contraflow.Depth(1))
	}
	features := contraflow.Step(batches, "encode", r.encodeOne, contraflow.Finish(r.encode.Finish), contraflow.Depth(1))
	scores := contraflow.Step(features, "contrast", contrast.Run, append(turn, contraflow.Depth(1))...)
	reports := contraflow.Step(scores, "update", update.Run, turn...)
	if update.Health != nil {
		reports = contraflow.Step(reports, "health", update.Health.Run, contraflow.Depth(1))
	}
	due := contraflow.Filter(reports, "meter", r.meter, contraflow.Depth(1))
	contraflow.Each(due, "save", r.write)
}

// behind says whether the device works behind the host's back.
func (r *Run) behind() bool {
	t, ok := r.net.device.(ops.Tracer)
	return ok && t.Behind()
}

// cmc is the objective if it is CMC.
func (r *Run) cmc() *CMC {
	o := r.objective
	if w, ok := o.(*watchedObjective); ok {
		o = w.objective
	}
	c, _ := o.(*CMC)
	return c
}

// encodeOne encodes a batch. Told to stop, it ends the graph once meter has seen every step that was applied.
func (r *Run) encodeOne(ctx context.Context, b *stages.Batch) (*stages.Features, error) {
	f, err := r.encode.Run(ctx, b)
	for errors.Is(err, stages.ErrStop) && r.metered.Load() < int64(b.Step) {
		select {
		case <-r.ticked:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return f, err
}

func (r *Run) between(ctx context.Context, next stages.Plan) error {
	if r.Between == nil || next.Batch != 0 || next.Step == r.sampler.Start {
		return nil
	}
	return r.Between(ctx, next.Epoch-1)
}

// meter counts a step, tells whoever listens, and hands a due checkpoint on.
func (r *Run) meter(_ context.Context, rep *stages.Report) (*saving, bool, error) {
	var due *saving
	if rep.Snapshot != nil { // the state before this step
		var err error
		if due, err = r.savingOf(rep.Snapshot); err != nil {
			return nil, false, err
		}
	}
	last := r.averages.Add(rep)
	if r.Observe != nil {
		r.Observe(rep)
	}
	if last && r.EndOfEpoch != nil {
		r.EndOfEpoch(rep, r.averages)
	}
	r.metered.Store(int64(rep.Plan.Step + 1))
	select {
	case r.ticked <- struct{}{}:
	default:
	}
	return due, due != nil, nil
}

// Averages are the means of the running epoch. Observe may call it.
func (r *Run) Averages() *Averages { return &r.averages }

// Train runs the graph to its end and saves the last state. After Stop it returns ErrStopped. Of a run that is Done it writes
// nothing.
func (r *Run) Train(ctx context.Context) error {
	if r.Done() {
		return nil
	}
	g := r.graph
	if g == nil {
		g = r.Graph()
	}
	defer r.levels(ctx, g)()
	if err := r.makeRoom(); err != nil {
		return err
	}
	last := stages.Plan{Step: r.sampler.Start}
	observe := r.Observe
	r.Observe = func(rep *stages.Report) {
		last = rep.Plan
		last.Step++
		if observe != nil {
			observe(rep)
		}
	}
	r.encode.Stop = r.Stop
	finished := make(chan struct{})
	stopped := false
	if r.Stop != nil {
		go func() {
			select {
			case <-r.Stop:
				g.Stop()
			case <-finished:
			}
		}()
	}
	err := g.Run(ctx)
	close(finished)
	if err != nil && !errors.Is(err, stages.ErrStop) {
		return err
	}
	select {
	case <-r.Stop:
		stopped = last.Step < r.sampler.Steps()
	default:
	}
	last.Epoch = last.Step/r.sampler.PerEpoch() + 1
	if err := r.saveNow(last); err != nil {
		return err
	}
	if stopped {
		return ErrStopped
	}
	return nil
}

// Steps is how many steps the run has in all, and how many are done when it starts.
func (r *Run) Steps() (total, done int) { return r.sampler.Steps(), r.sampler.Start }

// Classes are the class names of the training data.
func (r *Run) Classes() []string { return r.data.Classes() }

// Start is the first step that the run will do.
func (r *Run) Start() int { return r.sampler.Start }

// Done says that the run starts at its end: another checkpoint would only push an older one out.
func (r *Run) Done() bool { return r.sampler.Start >= r.sampler.Steps() }

// Describe is one line on what is about to happen.
func (r *Run) Describe() string {
	return fmt.Sprintf("%s: %s (%s), %s (%.1f M parameters), batch %d, %s, on %s, decoder %s",
		r.o.Method, counted(r.data.Len(), "image"), stages.Format(r.data), r.net.model.Name, float64(r.net.parameterCount())/1e6, r.o.Optim.BatchSize, counted(r.sampler.Steps(), "step"),
		r.net.device.Name(), r.decoder.Name())
}

// Stats are the graph's numbers so far.
func (r *Run) Stats() contraflow.Stats {
	if r.graph == nil {
		return contraflow.Stats{}
	}
	return r.graph.Stats()
}

// Window returns a function that reads the numbers since skip after now, when the pipeline has filled; of a run that is not
// twice as long it reads all.
func (r *Run) Window(skip time.Duration) func() contraflow.Stats {
	var base contraflow.Stats
	done := make(chan struct{})
	time.AfterFunc(skip, func() {
		base = r.Stats()
		close(done)
	})
	return func() contraflow.Stats {
		select {
		case <-done:
			if all := r.Stats(); all.Elapsed > base.Elapsed+skip {
				return all.Since(base)
			}
		default:
		}
		return r.Stats()
	}
}

// OnBad sets what is told of every substituted image. It may be called from several goroutines.
func (r *Run) OnBad(f func(name, by string, err error)) {
	r.decode.OnBad = func(s stages.Substitution) {
		by := "nothing"
		if s.By >= 0 {
			by = r.data.Name(s.By)
		}
		f(s.Name, by, s.Err)
	}
}
