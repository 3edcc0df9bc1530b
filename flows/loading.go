package flows

import (
	"context"
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

// openLoading opens and checks what comes before the encoders.
func (r *Run) openLoading() (err error) {
	o := r.o
	if r.model, err = modelOf(o); err != nil {
		return err
	}
	if r.views, err = viewsOf(o, r.model); err != nil {
		return err
	}
	r.o.Data.Beside = r.views.beside
	if r.data, err = openData(o, "train", o.Method == "supervised"); err != nil {
		return err
	}
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
	plans := contraflow.Source(g, "sampler", r.sampler.Plans())
	if r.mixes() {
		plans = contraflow.Step(plans, "partners", r.newMixture().Plan)
	}
	crops := contraflow.Step(plans, "decode", r.decode.Run, contraflow.Workers(r.workers()))
	batches := contraflow.Step(crops, "views", render.Run)
	if r.mixes() {
		batches = contraflow.Step(batches, "mixture", stages.Mix)
	} else if r.unmixes() {
		unmix := &stages.Unmix{Prob: o.Mix.UnmixProb, Beta: o.Mix.UnmixBeta, Seed: uint64(o.Run.Seed)}
		batches = contraflow.Step(batches, "mixture", unmix.Run)
	}
	return batches
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
	Images  int
	Seconds float64
	Stats   contraflow.Stats
}

// PerSecond is in images.
func (r Rate) PerSecond() float64 { return float64(r.Images) / max(r.Seconds, 1e-9) }

// Load runs the loading half of the flow into a sink for a while, epoch after epoch, and measures the last four fifths of it:
// what loading gives when computing costs nothing.
func (r *Run) Load(ctx context.Context, while time.Duration) (Rate, error) {
	endless := r.sampler
	endless.MaxSteps, endless.Epochs = 0, max(endless.Epochs, 1<<30/endless.PerEpoch())
	kept := r.sampler
	r.sampler = endless
	defer func() { r.sampler = kept }()
	g := contraflow.New("loading")
	return measure(ctx, g, while, r.loading(g))
}

// measure ends a graph in a sink that counts the images of batches, runs it for a while and tells of the last four fifths.
func measure(ctx context.Context, g *contraflow.Graph, while time.Duration, batches contraflow.Port[*stages.Batch]) (Rate, error) {
	var c counter
	contraflow.Each(batches, "sink", func(_ context.Context, b *stages.Batch) error {
		c.add(g, len(b.Index), while)
		b.Release()
		return nil
	})
	if err := g.Run(ctx); err != nil {
		return Rate{}, err
	}
	return c.rate(g), nil
}

// counter counts images from the first fifth of a run to its end; of a run of few batches, from the first to the last. One
// goroutine adds.
type counter struct {
	first, from, to time.Time
	images, all     int
	base, begin     contraflow.Stats
}

// add counts a finished batch and stops the graph when the time is over.
func (c *counter) add(g *contraflow.Graph, images int, while time.Duration) {
	now := time.Now()
	switch {
	case c.first.IsZero():
		c.first, c.begin = now, g.Stats()
	case c.from.IsZero() && now.Sub(c.first) > while/5:
		c.from, c.base = now, g.Stats()
		c.all += images
	default:
		c.all += images
		if !c.from.IsZero() {
			c.images += images
		}
	}
	c.to = now
	if now.Sub(c.first) > while {
		g.Stop()
	}
}

func (c *counter) rate(g *contraflow.Graph) Rate {
	if c.images == 0 {
		c.from, c.images, c.base = c.first, c.all, c.begin
	}
	return Rate{Images: c.images, Seconds: c.to.Sub(c.from).Seconds(), Stats: g.Stats().Since(c.base)}
}
