package flows

import (
	"context"
	"testing"

	"github.com/contraflow/contraflow/stages"
)

// A probe that ended within an epoch and goes on in it has to validate that epoch again, also when it is stopped before it does.
func TestProbeValidatesAnEpochAgain(t *testing.T) {
	r := &ProbeRun{progress: probeProgress{Step: 1, Validated: 1}}
	r.sampler[0] = stages.Sampler{N: 27, Batch: 10, Epochs: 1, MaxSteps: 2}
	r.sampler[1] = stages.Sampler{N: 12, Batch: 12, Epochs: 1, Ordered: true}
	var err error
	if r.metrics, err = NewMetrics(t.TempDir(), 1); err != nil {
		t.Fatal(err)
	}
	defer r.metrics.Close()
	if err := r.meter(context.Background(), &ProbeStep{Plan: stages.Plan{Epoch: 1, Step: 1, Batch: 1, Of: 3}}); err != nil {
		t.Fatal(err)
	}
	if r.Done() {
		t.Error("it is done with the accuracy of the step before its last")
	}
	r.sampler[0].Start = r.progress.Step
	validations := 0
	for p, err := range r.plans() {
		if err != nil {
			t.Fatal(err)
		}
		validations += p.half
	}
	if validations != 1 {
		t.Errorf("resumed it validates %d times, want once", validations)
	}
}
