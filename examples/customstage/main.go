// Command customstage shows a stage of one's own in a graph: HardNegatives keeps the hardest negatives of every anchor.
package main

import (
	"context"
	"fmt"
	"log"
	"slices"

	"github.com/contraflow/contraflow"
)

// HardNegatives keeps the Keep largest of the negatives of every anchor.
//
// In: similarities [1+K], the positive first. Out: [1+Keep], the positive unchanged, negatives from hardest to easiest.
// Source: Kalantidis et al., arXiv:2010.01028.
type HardNegatives struct{ Keep int }

// Run works on one anchor.
func (h HardNegatives) Run(_ context.Context, s []float64) ([]float64, error) {
	if len(s)-1 < h.Keep {
		return nil, fmt.Errorf("keep %d of %d negatives", h.Keep, len(s)-1)
	}
	negatives := slices.Clone(s[1:])
	slices.Sort(negatives)
	slices.Reverse(negatives)
	return append([]float64{s[0]}, negatives[:h.Keep]...), nil
}

func main() {
	g := contraflow.New("hard negatives")
	scores := contraflow.Source(g, "scores", func(yield func([]float64, error) bool) {
		_ = yield([]float64{0.9, 0.1, 0.7, 0.3}, nil) && yield([]float64{0.8, 0.6, 0.2, 0.5}, nil)
	})
	hard := contraflow.Step(scores, "hardest", HardNegatives{Keep: 2}.Run, contraflow.Workers(2))
	contraflow.Each(hard, "print", func(_ context.Context, s []float64) error {
		_, err := fmt.Println(s)
		return err
	})
	if err := g.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}
