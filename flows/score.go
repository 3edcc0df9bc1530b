package flows

import (
	"context"
	"fmt"
)

// Scores are the kNN accuracies of a trained encoder and of a freshly initialised one of the same shape, in [0,1].
type Scores struct {
	KNN       float64 `json:"knn"`
	Untrained float64 `json:"knn_untrained"`
	K         int     `json:"k"`
	Train     int     `json:"train_images"`
	Val       int     `json:"val_images"`
	Bad       int     `json:"bad"` // images that could not be read, and count in neither
}

// ScoreKNN loads the encoder at path, a checkpoint or run folder, and scores it on data_folder: validation images by the
// features of the training images, every view's features scaled to length one and concatenated. Images that cannot be read are left out.
func ScoreKNN(ctx context.Context, path, folder string, k KNN, with Open) (Scores, error) {
	e, err := OpenEncoder(path, with)
	if err != nil {
		return Scores{}, fmt.Errorf("--model_path: %w", err)
	}
	defer e.Close()
	var sets [2]*Embedder
	for i, half := range []string{"train", "val"} {
		if sets[i], err = e.Embedder(folder, half, ""); err != nil {
			return Scores{}, err
		}
	}
	if err := sameClasses(folder, "train", sets[0].decode.Data.Classes(), "val", sets[1].decode.Data.Classes()); err != nil {
		return Scores{}, err
	}
	var s Scores
	score := func() (float64, error) {
		train, err := sets[0].Run(ctx, nil)
		if err != nil {
			return 0, err
		}
		val, err := sets[1].Run(ctx, nil)
		if err != nil {
			return 0, err
		}
		s.K, s.Train, s.Val, s.Bad = min(k.K, train.Len()), train.Len(), val.Len(), sets[0].Bad()+sets[1].Bad()
		return k.Top1(train, val)
	}
	if s.KNN, err = score(); err != nil {
		return s, err
	}
	if err := e.Reset(); err != nil {
		return s, err
	}
	s.Untrained, err = score()
	return s, err
}
