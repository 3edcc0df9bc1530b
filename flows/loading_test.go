package flows_test

import (
	"context"
	"testing"
	"time"

	"github.com/contraflow/contraflow/flows"
)

// The loading half runs alone, over as many epochs as the time holds, and counts what came out.
func TestLoad(t *testing.T) {
	o := small(t, "moco", images(t))
	r, err := flows.PrepareLoading(o)
	if err != nil {
		t.Fatal(err)
	}
	rate, err := r.Load(context.Background(), 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if rate.Images < 3*27 || rate.Seconds < 0.1 || rate.Seconds > 30 {
		t.Errorf("%d images in %.2f s", rate.Images, rate.Seconds)
	}
	names := ""
	for _, s := range rate.Stats.Stages {
		names += s.Name + " "
	}
	if names != "sampler decode views sink " {
		t.Errorf("stages %s", names)
	}
}
