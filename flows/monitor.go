package flows

import (
	"context"

	"github.com/contraflow/contraflow/stages"
)

// Monitor scores a network by kNN while it trains: validation images against training images, both cut once in the
// evaluation way.
type Monitor struct {
	train, val         *Embedder
	trainSet, valSet   []*stages.Batch
	Train, Val         *FeatureSet // of the last evaluation
	Classes            []string
	trainData, valData stages.Dataset
}

// NewMonitor renders the validation images and the training images of a run, at most limit of each, evenly spread.
func NewMonitor(r *Run, limit int, ctx context.Context) (*Monitor, error) {
	val, err := openData(r.o, "val", true)
	if err != nil {
		return nil, err
	}
	train := r.data
	if r.o.Data.Split != "" { // what it trains on may have no labels
		if train, err = openData(r.o, "train", true); err != nil {
			return nil, err
		}
	}
	m := &Monitor{Classes: train.Classes(), trainData: train, valData: val}
	for i, half := range []stages.Dataset{train, val} {
		decode, err := newDecode(r.o, half, r.decoder, r.views, true)
		if err != nil {
			return nil, err
		}
		e, err := newEmbedder(r.o, r.net, r.views, decode, r.net.model.Features())
		if err != nil {
			return nil, err
		}
		batches, err := e.Render(ctx, spread(half.Len(), limit))
		if err != nil {
			return nil, err
		}
		if i == 0 {
			m.train, m.trainSet = e, batches
		} else {
			m.val, m.valSet = e, batches
		}
	}
	return m, nil
}

// spread picks at most limit of n indices, evenly.
func spread(n, limit int) []int {
	k := min(n, limit)
	out := make([]int, k)
	for i := range out {
		out[i] = i * n / k
	}
	return out
}

// KNN embeds both sets with the present weights and returns the top-1 share in [0,1]. It needs the device for itself.
func (m *Monitor) KNN(ctx context.Context) (float64, error) {
	var err error
	if m.Train, err = m.train.Encode(ctx, m.trainSet); err != nil {
		return 0, err
	}
	if m.Val, err = m.val.Encode(ctx, m.valSet); err != nil {
		return 0, err
	}
	return DefaultKNN.Top1(m.Train, m.Val)
}
