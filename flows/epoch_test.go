package flows_test

import (
	"testing"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/stages"
)

// An epoch's means weigh batches by their samples and leave out steps that were not taken; the next epoch starts anew.
func TestAverages(t *testing.T) {
	var a flows.Averages
	step := func(epoch, batch, samples int, loss float64, skipped bool) bool {
		return a.Add(&stages.Report{Plan: stages.Plan{Epoch: epoch, Batch: batch, Of: 3}, Samples: samples, Loss: loss, LR: float64(epoch), Skipped: skipped,
			Values: []stages.Value{{Name: "prob", V: 2 * loss}}})
	}
	if step(1, 0, 4, 1, false) || step(1, 1, 4, 99, true) || !step(1, 2, 2, 7, false) {
		t.Error("the last step of an epoch is another")
	}
	if loss, prob := a.Mean("loss"), a.Mean("prob"); loss != 3 || prob != 6 || a.Samples != 6 || a.LR != 1 {
		t.Errorf("the mean loss is %v and prob %v of %d samples at rate %v, want 3 and 6 of 6 at 1", loss, prob, a.Samples, a.LR)
	}
	step(2, 0, 4, 5, false)
	if loss := a.Mean("loss"); loss != 5 || a.Epoch != 2 || a.Samples != 4 || a.LR != 2 {
		t.Errorf("the second epoch begins with %+v", a)
	}
	step(3, 0, 4, 5, true)
	if loss := a.Mean("loss"); loss != 0 || a.Samples != 0 {
		t.Errorf("of no step that was taken: %v", loss)
	}
}
