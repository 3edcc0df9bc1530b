package flows_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
)

// The demonstration, cut short: it ends with scores and a report that needs nothing from elsewhere.
func TestDemo(t *testing.T) {
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
}
