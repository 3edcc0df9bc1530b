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

// A data set smaller than a batch is enough to look at and to measure, with the defaults.
func TestFewImages(t *testing.T) {
	data := images(t)
	o := small(t, "cmc", data)
	o.Optim.BatchSize = 128
	if _, err := flows.Preview(context.Background(), o, 0, 2); err != nil {
		t.Errorf("preview: %v", err)
	}
	b := flows.DecodeBench{Path: "cmc", Folder: data, Workers: 1, ImageSize: 32, Batch: 32, Seconds: 0.2, Decoder: "go"}
	if r, err := b.Run(context.Background()); err != nil || r.Images == 0 {
		t.Errorf("bench decode: %+v %v", r, err)
	}
}
