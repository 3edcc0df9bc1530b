package flows

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/contraflow/contraflow/io/synth"
	"github.com/contraflow/contraflow/stages"
)

// The first batches of a profile are one of every size, saved nowhere, and the flow that is measured starts where it would have.
func TestWarmUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := synth.Write(context.Background(), data, synth.Options{Classes: 2, PerClass: 5, ValPerClass: 1, Size: 40, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		batch int
		drop  bool
		want  string
	}{{4, false, "[2 4]"}, {4, true, "[4]"}, {5, false, "[5]"}, {6, false, "[4 6]"}, {10, false, "[10]"}} {
		o := Defaults("moco")
		o.Data.Folder, o.Data.ImageSize, o.Optim.DropLast, o.Net.Model = data, 32, c.drop, "resnet18"
		o.Loss.K, o.Optim.BatchSize, o.Optim.Epochs = 16, c.batch, 1
		o.Run.ModelPath, o.Run.SaveFreq = t.TempDir(), 1
		r, err := Prepare(o)
		if err != nil {
			t.Fatal(err)
		}
		sampler := r.sampler
		var sizes []int
		r.Observe = func(rep *stages.Report) { sizes = append(sizes, rep.Samples) }
		r.EndOfEpoch = func(*stages.Report, Averages) { t.Errorf("batch %d: an epoch ended", c.batch) }
		r.BeforeSave = func() error { t.Errorf("batch %d: it saves", c.batch); return nil }
		took, err := r.warmUp(context.Background())
		if err != nil || took <= 0 || fmt.Sprint(sizes) != c.want || r.sampler != sampler {
			t.Errorf("batch %d, drop_last %v: batches of %v in %v, sampler %+v, %v; want %s", c.batch, c.drop, sizes, took, r.sampler, err, c.want)
		}
		r.Close()
	}
}
