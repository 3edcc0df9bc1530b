package flows_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
)

// A checkpoint from before the first step holds the weights of its seed: a run with other options does not go on from it either.
func TestResumeBeforeTheFirstStep(t *testing.T) {
	t.Parallel()
	o := small(t, "insdis", images(t))
	o.Run.Name, o.Run.Resume, o.Run.MaxSteps = "run", "auto", 1
	r, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	close(stop)
	r.Stop = stop
	if err := errors.Join(r.Train(context.Background()), r.Close()); !errors.Is(err, flows.ErrStopped) || r.Start() != 0 {
		t.Fatalf("stopped at step %d: %v", r.Start(), err)
	}
	other := o
	other.Run.Seed = 2
	r, err = flows.Prepare(other)
	if err == nil {
		r.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "--seed was 1, is 2") {
		t.Errorf("with another seed: got %v", err)
	}
	run(t, o)
}
