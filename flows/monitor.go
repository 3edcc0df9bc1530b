package flows

import (
	"context"

	"github.com/contraflow/contraflow/stages"
)

// Monitor scores a network by kNN while it trains: validation images against training images, both cut in the evaluation
// way, once if that fits into RenderedBytes and afresh every time if not.
type Monitor struct {
	train, val         monitored
	Train, Val         *FeatureSet // of the last evaluation
	Classes            []string
	trainData, valData stages.Dataset
	decode             [2]*stages.Decode // of train and val
}

// monitored is the images of one half that are judged.
type monitored struct {
	embedder *Embedder
	index    []int
	rendered []*stages.Batch // nil loads them anew
}

// features embeds them with the present weights.
func (s *monitored) features(ctx context.Context) (*FeatureSet, error) {
	if s.rendered == nil {
		return s.embedder.Run(ctx, s.index)
	}
	return s.embedder.Encode(ctx, s.rendered)
}

// RenderedBytes is how much a Monitor keeps of rendered images: of two views at 224 pixels, 1780 images.
const RenderedBytes = 1 << 30

// openMonitor opens both halves, and loads no image.
func openMonitor(r *Run) (*Monitor, error) {
	val, err := openData(r.o, "val", true)
	if err != nil {
		return nil, err
	}
	train := r.data
	if r.o.Data.Split != "" { // what it trains on may have no labels
		if train, err = openData(r.o, "train", true); err != nil {
			return nil, err
		}
	} else if err := judgeable(train, r.o.Data.Folder, "train"); err != nil {
		return nil, err
	}
	if err := sameClasses(r.o.Data.Folder, "train", train.Classes(), "val", val.Classes()); err != nil {
		return nil, err
	}
	m := &Monitor{Classes: train.Classes(), trainData: train, valData: val}
	for i, half := range []stages.Dataset{train, val} {
		if m.decode[i], err = newDecode(r.o, half, r.decoder, r.views, true); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// NewMonitor loads the validation images and the training images of a run, at most limit of each, evenly spread.
func NewMonitor(r *Run, limit int, ctx context.Context) (m *Monitor, err error) {
	if m = r.monitor; m == nil {
		if m, err = openMonitor(r); err != nil {
			return nil, err
		}
	}
	bytes := 0
	for i, half := range []stages.Dataset{m.trainData, m.valData} {
		e, err := newEmbedder(r.o, r.net, r.views, m.decode[i], r.net.model.Features(), nil)
		if err != nil {
			return nil, err
		}
		if tell := r.decode.OnBad; tell != nil {
			e.OnBad = func(name string, err error) { tell(stages.Substitution{By: -1, Name: name, Err: err}) }
		}
		s := []*monitored{&m.train, &m.val}[i]
		s.embedder, s.index = e, spread(half.Len(), limit)
		for _, c := range r.views.channels() {
			bytes += 4 * c * r.o.Data.ImageSize * r.o.Data.ImageSize * len(s.index)
		}
	}
	if bytes > RenderedBytes {
		return m, nil
	}
	for _, s := range []*monitored{&m.train, &m.val} {
		if s.rendered, err = s.embedder.Render(ctx, s.index); err != nil {
			return nil, err
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
	if m.Train, err = m.train.features(ctx); err != nil {
		return 0, err
	}
	if m.Val, err = m.val.features(ctx); err != nil {
		return 0, err
	}
	return DefaultKNN.Top1(m.Train, m.Val)
}
