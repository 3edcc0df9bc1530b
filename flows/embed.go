package flows

import (
	"context"
	"fmt"
	"sync"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// Embedder turns images into features with frozen encoders: the mark Layer of the towers, each scaled to length one,
// concatenated. An image that cannot be read has no row: the one that stands in for it in training would be judged twice.
type Embedder struct {
	// OnBad, if set, is told once of every image that cannot be read, of one at a time.
	OnBad func(name string, err error)

	programs []ops.Program
	towers   []int // the view that each is of
	decode   *stages.Decode
	views    *stages.Views
	batch    int
	workers  int
	raw      bool // features as they are
	sound    bool // features that are NaN are refused; while training, its stages find what made them so

	lock sync.Mutex
	bad  map[int]bool // images that could not be read
}

// newEmbedder compiles the evaluation programs of a network over a data set: those of some towers, or of all without.
func newEmbedder(o Options, n *network, v views, decode *stages.Decode, layer string, towers []int) (*Embedder, error) {
	e := &Embedder{towers: n.chosen(towers), decode: decode, batch: 100, workers: o.Data.Workers, bad: map[int]bool{}}
	decode.OnBad = e.tell
	e.views = v.stage(decode.Recycle)
	for _, t := range e.towers {
		p, err := n.device.Compile(n.graphs[t], n.params[t], ops.Options{Batch: e.batch, Outputs: []string{layer}, Direct: o.Net.Direct})
		if err != nil {
			return nil, err
		}
		e.programs = append(e.programs, p)
	}
	return e, nil
}

// tell passes a bad image on, the first time.
func (e *Embedder) tell(s stages.Substitution) {
	e.lock.Lock()
	defer e.lock.Unlock()
	if e.OnBad != nil && !e.bad[s.Index] {
		e.OnBad(s.Name, s.Err)
	}
	e.bad[s.Index] = true
}

// Bad is how many images could not be read.
func (e *Embedder) Bad() int {
	e.lock.Lock()
	defer e.lock.Unlock()
	return len(e.bad)
}

// Run embeds the samples of index, or all with nil, as a graph: decoding runs ahead of the encoders.
func (e *Embedder) Run(ctx context.Context, index []int) (*FeatureSet, error) {
	index = e.all(index)
	f := e.room(len(index))
	g := contraflow.New("embed")
	plans := contraflow.Source(g, "sampler", func(yield func(stages.Plan, error) bool) {
		for at := 0; at < len(index); at += e.batch {
			if !yield(stages.Plan{Epoch: 1, Index: index[at:min(len(index), at+e.batch)]}, nil) {
				return
			}
		}
	})
	crops := contraflow.Step(plans, "decode", e.decode.Run, contraflow.Workers(decodeWorkers(e.workers)))
	batches := contraflow.Step(crops, "views", e.views.Run)
	contraflow.Each(batches, "encode", func(_ context.Context, b *stages.Batch) error {
		err := e.encode(f, b)
		b.Release()
		return err
	})
	return f, g.Run(ctx)
}

// all is index, or every sample with nil.
func (e *Embedder) all(index []int) []int {
	if index == nil {
		for i := range e.decode.Data.Len() {
			index = append(index, i)
		}
	}
	return index
}

// room is no features yet, with memory for those of n images: to grow would take several times that.
func (e *Embedder) room(n int) *FeatureSet {
	d := e.dim()
	return &FeatureSet{Dim: d, Rows: make([]float32, 0, n*d), Labels: make([]int, 0, n), Index: make([]int, 0, n)}
}

// dim is the number of features of all towers.
func (e *Embedder) dim() (d int) {
	for _, p := range e.programs {
		d += p.OutputShape(0).Len()
	}
	return d
}

// Render loads samples once, so that they can be embedded again and again.
func (e *Embedder) Render(ctx context.Context, index []int) ([]*stages.Batch, error) {
	index = e.all(index)
	var out []*stages.Batch
	for at := 0; at < len(index); at += e.batch {
		c, err := e.decode.Run(ctx, stages.Plan{Epoch: 1, Index: index[at:min(len(index), at+e.batch)]})
		if err != nil {
			return nil, err
		}
		b, err := e.views.Run(ctx, c)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// Encode embeds rendered batches.
func (e *Embedder) Encode(ctx context.Context, batches []*stages.Batch) (*FeatureSet, error) {
	n := 0
	for _, b := range batches {
		n += len(b.Index)
	}
	f := e.room(n)
	for _, b := range batches {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := e.encode(f, b); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// encode adds the features of a batch, but for those of images that stand in for others.
func (e *Embedder) encode(f *FeatureSet, b *stages.Batch) error {
	n, at := len(b.Index), 0
	rows := make([]float32, n*f.Dim)
	for i, p := range e.programs {
		v := e.towers[i]
		t, err := p.Forward(b.Views[v], n)
		if err != nil {
			return fmt.Errorf("embedding: %w", err)
		}
		d := p.OutputShape(0).Len()
		out := t.Output(0)
		has := present(b, v)
		for i := range n {
			if has != nil && !has[i] {
				continue // a view that the sample lacks has features of zero
			}
			row := rows[i*f.Dim+at:][:d]
			copy(row, out[i*d:])
			if !e.raw {
				normalise(row)
			}
			if e.sound && row[0] != row[0] {
				t.Release()
				return nanFeatures(e.decode.Data.Name(b.Index[i]))
			}
		}
		t.Release()
		at += d
	}
	bad := unread(b)
	for i, index := range b.Index {
		if bad[index] {
			continue
		}
		f.Rows = append(f.Rows, rows[i*f.Dim:][:f.Dim]...)
		f.Labels = append(f.Labels, b.Labels[i])
		f.Index = append(f.Index, index)
	}
	return nil
}

// nanFeatures is the error of an encoder that can be judged by nothing.
func nanFeatures(image string) error {
	return fmt.Errorf("the features of %s are NaN: the encoder's weights are no use", image)
}

// unread are the samples of a batch that could not be read, for which others stand in.
func unread(b *stages.Batch) map[int]bool {
	bad := map[int]bool{}
	for _, s := range b.Bad {
		bad[s.Index] = true
	}
	return bad
}
