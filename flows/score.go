package flows

import (
	"context"
	"errors"
	"fmt"

	"github.com/contraflow/contraflow/io/jpeg"
)

// Scores are the kNN accuracies of a trained encoder and of a freshly initialised one of the same shape, in [0,1].
type Scores struct {
	KNN       float64 `json:"knn"`
	Untrained float64 `json:"knn_untrained"`
	K         int     `json:"k"`
	Train     int     `json:"train_images"`
	Val       int     `json:"val_images"`
}

// ScoreKNN loads the encoder at path, a checkpoint or run folder, and scores it on data_folder: validation images by the
// features of the training images, every view's features scaled to length one and concatenated.
func ScoreKNN(ctx context.Context, path, folder string, k KNN, threads int) (Scores, error) {
	state, err := ReadState(path)
	if err != nil {
		return Scores{}, fmt.Errorf("--model_path: %w", err)
	}
	o, err := optionsOf(state)
	if err != nil {
		return Scores{}, fmt.Errorf("--model_path %s: %w", path, err)
	}
	o.Data.Folder, o.Net.Threads, o.Run.Seed = folder, threads, max(o.Run.Seed, 1)
	model, err := modelOf(o)
	if err != nil {
		return Scores{}, err
	}
	v, err := viewsOf(o, model)
	if err != nil {
		return Scores{}, err
	}
	device, err := openDevice(o)
	if err != nil {
		return Scores{}, err
	}
	defer device.Close()
	net, err := newNetwork(o, device, model, v.channels())
	if err != nil {
		return Scores{}, err
	}
	decoder, err := jpeg.Open(o.Data.Decoder)
	if err != nil {
		return Scores{}, err
	}
	var sets [2]*Embedder
	for i, half := range []string{"train", "val"} {
		data, err := openData(o, half, true)
		if err != nil {
			return Scores{}, err
		}
		decode, err := newDecode(o, data, decoder, v, true)
		if err != nil {
			return Scores{}, err
		}
		if sets[i], err = newEmbedder(o, net, v, decode, model.Features()); err != nil {
			return Scores{}, err
		}
	}
	if a, b := sets[0].decode.Data.Classes(), sets[1].decode.Data.Classes(); fmt.Sprint(a) != fmt.Sprint(b) {
		return Scores{}, fmt.Errorf("--data_folder %s: train has classes %v, val %v: they must be the same", folder, a, b)
	}
	score := func() (float64, error) {
		train, err := sets[0].Run(ctx, nil)
		if err != nil {
			return 0, err
		}
		val, err := sets[1].Run(ctx, nil)
		if err != nil {
			return 0, err
		}
		return k.Top1(train, val)
	}
	s := Scores{K: min(k.K, sets[0].decode.Data.Len()), Train: sets[0].decode.Data.Len(), Val: sets[1].decode.Data.Len()}
	if s.Untrained, err = score(); err != nil {
		return s, err
	}
	var errs []error
	for i, p := range net.params {
		errs = append(errs, readParams(state, model.Prefix(i), p, false))
	}
	if err := errors.Join(errs...); err != nil {
		return s, fmt.Errorf("--model_path %s: %w", path, err)
	}
	s.KNN, err = score()
	return s, err
}
