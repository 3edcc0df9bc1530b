package flows_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
)

// The demonstration, cut short: it ends with scores and a report that needs nothing from elsewhere.
func TestDemo(t *testing.T) {
	t.Parallel()
	o := flows.DemoOptions(1)
	o.Optim.Epochs, o.Data.ImageSize, o.Net.Threads = 2, 32, 0
	steps := 0
	dir := t.TempDir()
	for range 2 { // the second time finds its data drawn and takes a run folder of its own
		steps = 0
		res, err := flows.Demo(context.Background(), dir, o, nil, t.Logf, func(*flows.Run, *flows.StepReport) { steps++ })
		if err != nil {
			t.Fatal(err)
		}
		if steps != 12 || res.KNN <= 0 || res.Untrained <= 0 || res.Histogram <= 0 || res.Histogram > 0.45 || res.Seconds <= 0 {
			t.Errorf("%d steps: %+v", steps, res)
		}
		raw, err := os.ReadFile(res.Report)
		if err != nil {
			t.Fatal(err)
		}
		page := string(raw)
		for _, want := range []string{"kNN accuracy", "kNN accuracy against wall time", "Similarities over time", "Confusion", "First-layer filters", "t-SNE", "Nearest neighbours", "Maps of the features", "Where the time went", "data:image/jpeg", " limit", "--nce_k"} {
			if !strings.Contains(page, want) {
				t.Errorf("the report lacks %q", want)
			}
		}
		for _, foreign := range []string{"<script", "src=\"http", "href=\"http", "@import"} {
			if strings.Contains(page, foreign) {
				t.Errorf("the report reaches outside: %q", foreign)
			}
		}
	}
	// One that is at its end says so, and is still the run that it was.
	o.Run.Resume = "auto"
	manifest := filepath.Join(dir, "run-seed1-2", "run.json")
	before, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	say := func(format string, args ...any) { said += fmt.Sprintf(format+"\n", args...) }
	res, err := flows.Demo(context.Background(), dir, o, nil, say, nil)
	if err != nil || res.Seconds != 0 || res.KNN <= 0 || !strings.Contains(said, "nothing left to train: the run ended at step 12") {
		t.Errorf("%+v, %v: %s", res, err, said)
	}
	if after, err := os.ReadFile(manifest); err != nil || !bytes.Equal(after, before) {
		t.Errorf("%v: run.json is now\n%s", err, after)
	}
}

// A folder that holds something else in the place of the drawn images is refused before they are drawn.
func TestDemoOverOtherData(t *testing.T) {
	out := t.TempDir()
	put(t, filepath.Join(out, "data-seed1", "notes"), nil)
	said := false
	say := func(string, ...any) { said = true }
	_, err := flows.Demo(context.Background(), out, flows.DemoOptions(1), nil, say, nil)
	if err == nil || !strings.Contains(err.Error(), "data-seed1 holds something else: move it away, or choose another --out") || said {
		t.Errorf("%v, drawn %v", err, said)
	}
}
