package flows

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/stages"
)

// ProfileOptions say how to profile.
type ProfileOptions struct {
	// Seconds is how long the flow runs; each half alone then runs a quarter of that, at least half a second.
	Seconds float64
	// Trace, if set, gets the flow's spans and the levels of its edges.
	Trace *contraflow.Trace
	// Say, if set, is told in lines what is being measured.
	Say func(format string, args ...any)
}

// Profile is where the time of a flow goes: the flow itself, and each of its halves without the other.
type Profile struct {
	Method, Device, Decoder string
	Batch, Cores            int
	WarmUp                  time.Duration // of a device that chooses how to compute what it sees first; before the rest, in no rate
	Flow, Loading, Compute  Rate
	Busy                    *DeviceBusy // during Compute; nil for a device whose calls wait
}

// replayed is how many batches the compute half is fed with, over and over.
const replayed = 3

// ProfileRun runs the real flow of o for a while, then its loading into a sink (compute free) and its compute on cached
// batches (loading free). It trains as a run of o would, in a folder of its own that it removes.
func ProfileRun(ctx context.Context, o Options, p ProfileOptions) (*Profile, error) {
	dir, err := os.MkdirTemp("", "contraflow-profile-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if o.Run.Resume == "auto" {
		return nil, fmt.Errorf("--resume auto: a profile has a run folder of its own: name the checkpoint to start from")
	}
	o.Run.ModelPath, o.Run.TBPath = dir, ""
	r, err := Prepare(o)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	say := p.Say
	if say == nil {
		say = func(string, ...any) {}
	}
	say("%s", r.Describe())
	out := &Profile{Method: o.Method, Device: r.net.device.Name(), Decoder: r.decoder.Name(), Batch: o.Optim.BatchSize, Cores: runtime.NumCPU()}
	r.Tuned = func(stage string, workers int) { say("autotune: %s has %s", stage, counted(workers, "worker")) }
	if r.behind() {
		say("the first batches, for which the device chooses how to compute")
		if out.WarmUp, err = r.warmUp(ctx); err != nil {
			return nil, err
		}
	}
	whole := time.Duration(p.Seconds * float64(time.Second))
	part := max(whole/4, time.Second/2)
	say("the flow, %v", whole)
	if out.Flow, err = r.Flow(ctx, whole, p.Trace); err != nil {
		return nil, err
	}
	if st, ok := out.Flow.Stats.Stage("decode"); ok { // as many as --autotune found right
		r.o.Data.Workers, r.o.Data.Autotune = st.Workers, false
	}
	say("loading into a sink, %v", part)
	var kept []*stages.Batch
	if out.Loading, kept, err = r.load(ctx, part, replayed); err != nil {
		return nil, err
	}
	say("compute on %s, %v", counted(len(kept), "cached batch"), part)
	busy := r.watch()
	out.Compute, err = r.replay(ctx, part, kept)
	if out.Busy = busy(); err != nil {
		return nil, err
	}
	return out, nil
}

// warmUp computes a batch of every size that the flow has: the short one that ends an epoch, if there is one, and a whole one. A GPU
// times its ways to compute each size when it sees it first, which takes seconds once and says nothing of the flow.
func (r *Run) warmUp(ctx context.Context) (time.Duration, error) {
	defer r.endless()()
	s := &r.sampler
	s.Start, s.MaxSteps = 0, 1
	if s.N%s.Batch != 0 && !s.DropLast {
		s.Start, s.MaxSteps = s.PerEpoch()-1, s.PerEpoch()+1
	}
	began := time.Now()
	g := contraflow.New("first batches", r.GraphOptions...)
	r.compute(g, contraflow.Step(r.loading(g), "inner", func(_ context.Context, b *stages.Batch) (*stages.Batch, error) {
		inner(b)
		return b, nil
	}))
	err := g.Run(ctx)
	return time.Since(began), err
}

// inner makes a batch one of the middle of an epoch: no run saves or judges there.
func inner(b *stages.Batch) { b.Batch, b.Of = 1, 3 }

// Flow runs the whole graph for a while, epoch after epoch, and measures the last four fifths of it. trace, unless nil, gets
// its spans, those of the device too, and the levels of its edges.
func (r *Run) Flow(ctx context.Context, while time.Duration, trace *contraflow.Trace) (Rate, error) {
	defer r.endless()()
	kept := r.Trace
	r.Trace = trace
	defer func() { r.Trace = kept }()
	g := r.Graph()
	defer r.levels(ctx, g)()
	return r.timed(ctx, g, while)
}

// replay runs the compute half on batches that are there already.
func (r *Run) replay(ctx context.Context, while time.Duration, batches []*stages.Batch) (Rate, error) {
	if len(batches) == 0 {
		return Rate{}, fmt.Errorf("no batch came out of the loading stages in time: give more --seconds")
	}
	g := contraflow.New("compute", r.GraphOptions...)
	cached := contraflow.Source(g, "cached", func(yield func(*stages.Batch, error) bool) {
		for step := r.sampler.Start; ; step++ {
			b := *batches[step%len(batches)]
			b.Step = step
			inner(&b)
			if !yield(&b, nil) {
				return
			}
		}
	})
	r.compute(g, cached)
	return r.timed(ctx, g, while)
}

// timed runs a graph that ends in meter for a while.
func (r *Run) timed(ctx context.Context, g *contraflow.Graph, while time.Duration) (Rate, error) {
	c := newCounter(g, while)
	observe := r.Observe
	defer func() { r.Observe = observe }()
	r.Observe = func(rep *stages.Report) {
		c.add(rep.Samples)
		if observe != nil {
			observe(rep)
		}
	}
	if err := g.Run(ctx); err != nil {
		return Rate{}, err
	}
	return c.rate(), nil
}

// Headspace is how many times faster the flow could get at most when loading, or when compute, took no time. A half that ran
// slower alone than in the flow, on a machine that others use too, or while it warmed up, says 1: there is nothing to gain.
func (p *Profile) Headspace() (loading, compute float64) {
	flow := max(p.Flow.PerSecond(), 1e-9)
	return max(1, p.Compute.PerSecond()/flow), max(1, p.Loading.PerSecond()/flow)
}

// WriteText prints tables, verdict and headspace.
func (p *Profile) WriteText(w io.Writer) error {
	f := p.Flow
	fmt.Fprintf(w, "%s on %s, decoder %s: %.1f images/s in batches of %d, %.0f %% of %s busy\n\n", p.Method, p.Device, p.Decoder,
		f.PerSecond(), p.Batch, 100*f.Stats.CPU, counted(p.Cores, "core"))
	if err := f.Stats.Table(w); err != nil {
		return err
	}
	loading, compute := p.Headspace()
	_, err := fmt.Fprintf(w, "headspace: compute alone, on cached batches, %.1f images/s: faster loading gives at most %.2f×\n"+
		"           loading alone, into a sink, %.1f images/s: faster compute gives at most %.2f×\n",
		p.Compute.PerSecond(), loading, p.Loading.PerSecond(), compute)
	if err == nil && p.Busy != nil {
		_, err = fmt.Fprintf(w, "device, on cached batches: %v\n", p.Busy)
	}
	if err == nil && p.WarmUp > 0 {
		_, err = fmt.Fprintf(w, "before all that the device took %.1f s for the first batch of every size\n", p.WarmUp.Seconds())
	}
	return err
}

// JSON is the profile as an object for encoding/json.
func (p *Profile) JSON() any {
	type part struct {
		ImagesPerS float64          `json:"images_per_s"`
		PerCore    float64          `json:"images_per_s_per_core"`
		Seconds    float64          `json:"seconds"`
		Images     int              `json:"images"`
		Graph      contraflow.Stats `json:"graph"`
	}
	of := func(r Rate) part { return part{r.PerSecond(), r.PerCore(), r.Seconds, r.Images, r.Stats} }
	loading, compute := p.Headspace()
	return struct {
		Method    string             `json:"method"`
		Device    string             `json:"device"`
		Decoder   string             `json:"decoder"`
		Batch     int                `json:"batch_size"`
		Cores     int                `json:"cores"`
		WarmUp    float64            `json:"warm_up_s"`
		Verdict   string             `json:"verdict"`
		Flow      part               `json:"flow"`
		Loading   part               `json:"loading"`
		Compute   part               `json:"compute"`
		Headspace map[string]float64 `json:"headspace"`
		Busy      *DeviceBusy        `json:"device_busy,omitempty"`
	}{p.Method, p.Device, p.Decoder, p.Batch, p.Cores, p.WarmUp.Seconds(), p.Flow.Stats.Verdict(), of(p.Flow), of(p.Loading), of(p.Compute),
		map[string]float64{"faster_loading": loading, "faster_compute": compute}, p.Busy}
}
