package flows

import (
	"context"
	"math"
	"runtime"
	"time"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/stages"
)

// PrepareLoading opens the half of a run that loads, data, decoder and views, without a network or a run folder: for Load.
func PrepareLoading(o Options) (*Run, error) {
	r := &Run{o: o}
	return r, r.openLoading()
}

// prepareFitting is PrepareLoading with a batch of at most the data set, for what trains nothing: a few images are enough to
// look at, or to measure.
func prepareFitting(o Options) (*Run, error) {
	r := &Run{o: o}
	if err := r.openImages(); err != nil {
		return nil, err
	}
	r.o.Optim.BatchSize = min(o.Optim.BatchSize, r.data.Len())
	return r, r.openSampler()
}

// openLoading opens and checks what comes before the encoders.
func (r *Run) openLoading() error {
	if err := r.openImages(); err != nil {
		return err
	}
	return r.openSampler()
}

// openImages finds model and views, and opens the data.
func (r *Run) openImages() (err error) {
	o := r.o
	if r.model, err = modelOf(o); err != nil {
		return err
	}
	if r.views, err = viewsOf(o, r.model); err != nil {
		return err
	}
	r.o.Net.Model = r.model.Name
	r.o.Data.Beside = r.views.beside
	r.data, err = openData(o, "train", o.Method == "supervised")
	return err
}

// openSampler makes the stages before the views.
func (r *Run) openSampler() (err error) {
	o := r.o
	r.sampler = stages.Sampler{N: r.data.Len(), Batch: o.Optim.BatchSize, Epochs: o.Optim.Epochs, Seed: uint64(o.Run.Seed),
		MaxSteps: o.Run.MaxSteps, DropLast: o.Optim.DropLast, Rank: o.Data.Rank, World: o.Data.Ranks}
	if err := r.sampler.Check(); err != nil {
		return err
	}
	if r.decoder, err = jpeg.Open(o.Data.Decoder); err != nil {
		return err
	}
	r.decode, err = newDecode(o, r.data, r.decoder, r.views, false)
	return err
}

// loading adds the half of the graph that loads: sampler, decode and views, with the stages of a mixture when there is one.
func (r *Run) loading(g *contraflow.Graph) contraflow.Port[*stages.Batch] {
	o := r.o
	render := r.views.stage(r.decode.Recycle)
	render.Raw = r.renderings() != nil
	r.decode.Leave = render.Raw
	plans := contraflow.Source(g, "sampler", r.sampler.Plans())
	if r.mixes() {
		plans = contraflow.Step(plans, "partners", r.newMixture().Plan)
	}
	unmix := &stages.Unmix{Prob: o.Mix.UnmixProb, Beta: o.Mix.UnmixBeta, Seed: uint64(o.Run.Seed)}
	if r.unmixes() && o.Data.Ranks > 1 {
		plans = contraflow.Step(plans, "partners", unmix.Plan)
	}
	crops := contraflow.Step(plans, "decode", r.decode.Run, r.scale(r.workers())...)
	batches := contraflow.Step(crops, "views", render.Run, r.scale(1)...)
	if r.mixes() {
		batches = contraflow.Step(batches, "mixture", stages.Mix)
	} else if r.unmixes() {
		batches = contraflow.Step(batches, "mixture", unmix.Run)
	}
	return batches
}

// scale gives a stage n workers, and with --autotune leave to take more.
func (r *Run) scale(n int) []contraflow.StageOption {
	opts := []contraflow.StageOption{contraflow.Workers(n)}
	if r.o.Data.Autotune {
		opts = append(opts, contraflow.MaxWorkers(max(n, r.budget())))
	}
	return opts
}

// budget is how many workers all loading stages may have together with --autotune: the cores that --cpu_budget gives them, at
// least one for each.
func (r *Run) budget() int {
	return max(2, int(math.Round(r.o.Data.CPUBudget*float64(runtime.GOMAXPROCS(0)))))
}

// workers is how many decode workers run: what was asked for, or half the cores.
func (r *Run) workers() int {
	if r.o.Data.Workers > 0 {
		return r.o.Data.Workers
	}
	return max(1, runtime.GOMAXPROCS(0)/2)
}

// Rate is what one part of a flow did in a while, after it had filled.
type Rate struct {
	Images    int
	Seconds   float64
	Processor time.Duration // that the whole process used
	Stats     contraflow.Stats
}

// PerSecond is in images.
func (r Rate) PerSecond() float64 { return float64(r.Images) / max(r.Seconds, 1e-9) }

// PerCore is in images a second of processor time.
func (r Rate) PerCore() float64 { return float64(r.Images) / max(r.Processor.Seconds(), 1e-9) }

// Load runs the loading half of the flow into a sink for a while, epoch after epoch, and measures the last four fifths of it:
// what loading gives when computing costs nothing.
func (r *Run) Load(ctx context.Context, while time.Duration) (Rate, error) {
	rate, _, err := r.load(ctx, while, 0)
	return rate, err
}

// load is Load; it keeps the first batches for a replay.
func (r *Run) load(ctx context.Context, while time.Duration, keep int) (Rate, []*stages.Batch, error) {
	defer r.endless()()
	g := contraflow.New("loading", r.GraphOptions...)
	c := newCounter(g, while)
	var kept []*stages.Batch
	contraflow.Each(r.loading(g), "sink", func(_ context.Context, b *stages.Batch) error {
		c.add(len(b.Index))
		if len(kept) < keep {
			b.Keep()
			kept = append(kept, b)
			return nil
		}
		b.Release()
		return nil
	})
	if err := g.Run(ctx); err != nil {
		return Rate{}, nil, err
	}
	return c.rate(), kept, nil
}

// endless makes the sampler go on for ever; the function it returns takes that back.
func (r *Run) endless() (restore func()) {
	kept := r.sampler
	r.sampler.MaxSteps, r.sampler.Epochs = 0, 1<<40/r.sampler.PerEpoch()
	return func() { r.sampler = kept }
}

// counter counts images while a graph runs, and stops it when its time is over. What it tells is of the last four fifths of
// the time, when the edges have filled; of a run of few batches, of all after the first. One goroutine adds.
type counter struct {
	g     *contraflow.Graph
	while time.Duration
	first time.Time
	marks [3]mark // at the first batch, at the first after a fifth of the time, at the last
}

// mark is what had been done at a moment.
type mark struct {
	at        time.Time
	images    int
	processor time.Duration
	stats     contraflow.Stats
}

func newCounter(g *contraflow.Graph, while time.Duration) *counter {
	return &counter{g: g, while: while}
}

// add counts a finished batch.
func (c *counter) add(images int) {
	now := time.Now()
	last := &c.marks[2]
	if last.stats.Elapsed > 0 { // the rest of a graph that drains
		return
	}
	last.images += images
	if c.first.IsZero() {
		c.first = now
		c.mark(0, now)
	}
	over := now.Sub(c.first) > c.while
	if c.marks[1].at.IsZero() && now.Sub(c.first) > c.while/5 && !over {
		c.mark(1, now)
	}
	last.at = now
	if over {
		c.mark(2, now)
		c.g.Stop()
	}
}

func (c *counter) mark(i int, now time.Time) {
	c.marks[i] = mark{now, c.marks[2].images, processorTime(), c.g.Stats()}
}

func (c *counter) rate() Rate {
	from, to := c.marks[1], c.marks[2]
	if to.stats.Elapsed == 0 { // the data ended first
		c.mark(2, to.at)
		to = c.marks[2]
	}
	if from.at.IsZero() {
		from = c.marks[0]
	}
	r := Rate{Images: to.images - from.images, Seconds: to.at.Sub(from.at).Seconds(), Processor: to.processor - from.processor, Stats: to.stats.Since(from.stats)}
	r.Stats.CPU = min(1, r.Processor.Seconds()/max(r.Seconds, 1e-9)/float64(runtime.NumCPU()))
	return r
}
