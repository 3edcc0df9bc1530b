package stages_test

import (
	"context"
	"math"
	"testing"

	"github.com/contraflow/contraflow/stages"
)

// sent keeps what was sent last.
type sent struct{ g *stages.Gradients }

func (s *sent) Send(_ context.Context, g *stages.Gradients) error { s.g = g; return nil }

// Steps whose loss is not finite are left out, as long as they are not too many in a row; each is told of and has the device take none.
func TestUpdateLeavesOut(t *testing.T) {
	to, told := &sent{}, 0
	u := &stages.Update{LR: func(p stages.Plan) float64 { return float64(p.Epoch) }, Momentum: 0.9, Decay: 0.1, SkipNaN: true, Gradients: to,
		NaN: func(*stages.Trouble) error { told++; return nil }}
	step := func(loss float64) error {
		f := &stages.Features{Batch: &stages.Batch{Plan: stages.Plan{Epoch: 3, Step: 7, Index: []int{4}}}, Out: [][]float32{{1}}}
		r, err := u.Run(context.Background(), &stages.Scores{Features: f, Loss: loss, D: [][]float32{{2}}})
		if err != nil {
			return err
		}
		if bad := math.IsNaN(loss); r.Skipped != bad || to.g.Skip != bad || to.g.Step != 7 || to.g.LR != 3 || to.g.Momentum != 0.9 || to.g.Decay != 0.1 || to.g.D[0][0] != 2 {
			t.Errorf("loss %v: %+v, %+v", loss, r, to.g)
		}
		return nil
	}
	const most = 20 // in a row end a run
	for _, n := range []int{most - 1, most - 1} {
		for range n {
			if err := step(math.NaN()); err != nil {
				t.Fatal(err)
			}
		}
		if err := step(1); err != nil {
			t.Fatal(err)
		}
	}
	if told != 2*(most-1) {
		t.Errorf("told of %d steps", told)
	}
	var err error
	for range most {
		if err != nil {
			t.Fatal("too few in a row end the run:", err)
		}
		err = step(math.NaN())
	}
	if err == nil {
		t.Errorf("%d steps in a row were left out", most)
	}
}
