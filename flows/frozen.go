package flows

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// Frozen turns batches into what a linear probe sees: a layer of every tower in evaluation mode, without gradients, pooled to
// a few bins, flattened in C,H,W order, and joined tower by tower, which is joining the maps along their channels. Rows are
// shared among replicas, each with a device and a copy of the encoder. One goroutine uses it.
type Frozen struct {
	Dim   int       // features a row
	Shape ops.Shape // of the joined maps before pooling

	towers   []int // the view that each part comes from
	dims     []int
	batch    int // rows of one forward
	replicas []frozenReplica
}

type frozenReplica struct {
	encoder  *Encoder // nil for the first, whose device is the caller's
	programs []ops.Program
}

// frozenBatch is the largest number of rows of one forward.
const frozenBatch = 64

// Frozen compiles the features of a layer, counted from 1, pooled as c says. towers nil is all. threads are those of all
// replicas together.
func (e *Encoder) Frozen(layer int, c encoders.Classifier, towers []int, replicas int) (*Frozen, error) {
	towers = e.net.chosen(towers)
	if t, ok := e.net.device.(ops.Tracer); ok && t.Behind() {
		replicas = 1 // the device does its work at once
	}
	f := &Frozen{towers: towers, batch: frozenBatch}
	for r := range max(replicas, 1) {
		rep := frozenReplica{}
		net := e.net
		if replicas > 1 {
			with := *e
			with.Options.Net.Threads = threadsEach(e.Options.Net.Threads, replicas)
			if err := with.place(); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			rep.encoder, net = &with, with.net
		}
		f.replicas = append(f.replicas, rep)
		for _, v := range towers {
			g, err := probeGraph(net, v, layer, c)
			if err != nil {
				return nil, errors.Join(err, f.Close())
			}
			p, err := net.device.Compile(g.graph, net.params[v], ops.Options{Batch: f.batch, Outputs: []string{"probe"}, Direct: e.Options.Net.Direct})
			if err != nil {
				return nil, errors.Join(err, f.Close())
			}
			f.replicas[r].programs = append(f.replicas[r].programs, p)
			if r == 0 {
				f.dims = append(f.dims, p.OutputShape(0).Len())
				f.Dim += p.OutputShape(0).Len()
				channels := f.Shape.C
				f.Shape = g.shape
				f.Shape.C += channels
			}
		}
	}
	return f, nil
}

// place makes the encoder's networks anew on a device of its own.
func (e *Encoder) place() error {
	device, err := openDevice(e.Options)
	if err != nil {
		return err
	}
	net, err := newNetwork(e.Options, device, e.Model, e.views.channels())
	if err != nil {
		return errors.Join(err, device.Close())
	}
	e.net = net
	return e.Load()
}

type probedGraph struct {
	graph *ops.Graph
	shape ops.Shape
}

// probeGraph is tower v up to a layer, then the probe's pool; its mark is "probe".
func probeGraph(n *network, v, layer int, c encoders.Classifier) (probedGraph, error) {
	whole := n.graphs[v]
	in := whole.Shape(whole.Input())
	g := n.model.Net.Tower(in.C, in.H)
	mark := fmt.Sprintf("layer%d", layer)
	x, ok := g.Marked(mark)
	if !ok {
		return probedGraph{}, fmt.Errorf("%s has no layer %d", n.model.Name, layer)
	}
	shape := g.Shape(x)
	g.Cut(x)
	if shape.H > 1 || shape.W > 1 {
		switch {
		case c.Bins > 0 && c.Max:
			x = g.AdaptiveMaxPool(x, c.Bins)
		case c.Bins > 0:
			x = g.AdaptiveAvgPool(x, c.Bins)
		}
		x = g.Flatten(x)
	}
	g.Mark("probe", x)
	return probedGraph{g, shape}, g.Err()
}

// Run writes the features of a batch to dst [n,Dim].
func (f *Frozen) Run(dst []float32, b *stages.Batch) error {
	n := len(b.Index)
	if len(dst) != n*f.Dim {
		return fmt.Errorf("features of %d images have %d values, not %d", n, n*f.Dim, len(dst))
	}
	shards := shardsOf(n)
	errs := make([]error, len(f.replicas))
	var wg sync.WaitGroup
	for r := range f.replicas {
		from, to := share(len(shards), r, len(f.replicas))
		if from == to {
			continue
		}
		wg.Go(func() { errs[r] = f.rows(dst, b, f.replicas[r].programs, shards[from][0], shards[to-1][1]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (f *Frozen) rows(dst []float32, b *stages.Batch, programs []ops.Program, from, to int) error {
	at := 0
	for i, p := range programs {
		x := b.Views[f.towers[i]]
		size := len(x) / len(b.Index)
		for a := from; a < to; a += f.batch {
			z := min(to, a+f.batch)
			t, err := p.Forward(x[a*size:z*size], z-a)
			if err != nil {
				return err
			}
			out := t.Output(0)
			for row := a; row < z; row++ {
				if has := present(b, f.towers[i]); has != nil && !has[row] {
					clear(dst[row*f.Dim+at:][:f.dims[i]]) // a view that the sample lacks
					continue
				}
				copy(dst[row*f.Dim+at:][:f.dims[i]], out[(row-a)*f.dims[i]:])
			}
			t.Release()
		}
		at += f.dims[i]
	}
	return nil
}

// Close gives the replicas' devices back.
func (f *Frozen) Close() error {
	var errs []error
	for _, r := range f.replicas {
		if r.encoder != nil {
			errs = append(errs, r.encoder.Close())
		}
	}
	return errors.Join(errs...)
}

// decodeWorkers is how many decode workers run: what was asked for, or half the cores.
func decodeWorkers(asked int) int {
	if asked > 0 {
		return asked
	}
	return max(1, runtime.GOMAXPROCS(0)/2)
}

// FeatureNorm normalises rows of features without parameters: each feature to mean 0 and variance 1 over the rows of a replica,
// contiguous chunks of ceil(n/Groups), or of the whole batch with Groups 1. Running statistics for evaluation follow the first
// chunk, as those of data-parallel training do: momentum 0.1, unbiased variance.
type FeatureNorm struct {
	Groups    int
	Mean, Var []float32
}

// normEps guards the variance, as PyTorch's batch norm does.
const normEps = 1e-5

// Train normalises the rows x [n,dim] of a batch in place.
func (b *FeatureNorm) Train(x []float32, dim int) {
	b.start(dim)
	n := len(x) / dim
	size := (n + b.Groups - 1) / b.Groups
	for from := 0; from < n; from += size {
		rows := x[from*dim : min(n, from+size)*dim]
		count := float64(len(rows) / dim)
		parallelPieces(dim, 256, func(lo, hi int) {
			for j := lo; j < hi; j++ {
				var sum, sq float64
				for at := j; at < len(rows); at += dim {
					sum += float64(rows[at])
				}
				mean := sum / count
				for at := j; at < len(rows); at += dim {
					d := float64(rows[at]) - mean
					sq += d * d
				}
				normaliseColumn(rows, j, dim, mean, sq/count)
				if from == 0 && count > 1 { // one row has no variance
					b.Mean[j] = float32(0.9*float64(b.Mean[j]) + 0.1*mean)
					b.Var[j] = float32(0.9*float64(b.Var[j]) + 0.1*sq/(count-1))
				}
			}
		})
	}
}

// Eval normalises rows by the running statistics, in place.
func (b *FeatureNorm) Eval(x []float32, dim int) {
	b.start(dim)
	parallelPieces(dim, 256, func(lo, hi int) {
		for j := lo; j < hi; j++ {
			normaliseColumn(x, j, dim, float64(b.Mean[j]), float64(b.Var[j]))
		}
	})
}

func (b *FeatureNorm) start(dim int) {
	if b.Mean == nil {
		b.Mean, b.Var = make([]float32, dim), make([]float32, dim)
		for j := range b.Var {
			b.Var[j] = 1
		}
	}
}

func normaliseColumn(x []float32, j, dim int, mean, variance float64) {
	scale := 1 / math.Sqrt(variance+normEps)
	for at := j; at < len(x); at += dim {
		x[at] = float32((float64(x[at]) - mean) * scale)
	}
}
