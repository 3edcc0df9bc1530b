package flows

import (
	"context"
	"fmt"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// Embedder turns images into features with frozen encoders: the mark Layer of every tower, each scaled to length one,
// concatenated.
type Embedder struct {
	programs []ops.Program
	decode   *stages.Decode
	views    *stages.Views
	batch    int
}

// newEmbedder compiles the evaluation programs of a network over a data set.
func newEmbedder(o Options, n *network, v views, decode *stages.Decode, layer string) (*Embedder, error) {
	e := &Embedder{decode: decode, batch: 100}
	e.views = v.stage(decode.Recycle)
	for i, g := range n.graphs {
		p, err := n.device.Compile(g, n.params[i], ops.Options{Batch: e.batch, Outputs: []string{layer}, Direct: o.Net.Direct})
		if err != nil {
			return nil, err
		}
		e.programs = append(e.programs, p)
	}
	return e, nil
}

// Run embeds the samples of index, or all with nil.
func (e *Embedder) Run(ctx context.Context, index []int) (*FeatureSet, error) {
	batches, err := e.Render(ctx, index)
	if err != nil {
		return nil, err
	}
	return e.Encode(ctx, batches)
}

// Render loads samples once, so that they can be embedded again and again.
func (e *Embedder) Render(ctx context.Context, index []int) ([]*stages.Batch, error) {
	if index == nil {
		for i := range e.decode.Data.Len() {
			index = append(index, i)
		}
	}
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
	f := &FeatureSet{}
	for _, p := range e.programs {
		f.Dim += p.OutputShape(0).Len()
	}
	for _, b := range batches {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := len(b.Index)
		rows := make([]float32, n*f.Dim)
		at := 0
		for v, p := range e.programs {
			t, err := p.Forward(b.Views[v], n)
			if err != nil {
				return nil, fmt.Errorf("embedding: %w", err)
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
				normalise(row)
			}
			t.Release()
			at += d
		}
		f.Rows = append(f.Rows, rows...)
		f.Labels = append(f.Labels, b.Labels...)
		f.Index = append(f.Index, b.Index...)
	}
	return f, nil
}
