package flows

import (
	"slices"
	"testing"

	"github.com/contraflow/contraflow/io/report"
)

// A run has its colour, which is its place, in every chart, also where others have no curve; and what is best was trained.
func TestRunsTogether(t *testing.T) {
	line := func(loss float64) []metricLine { return []metricLine{{Epoch: 1, values: []float64{loss}}} }
	index := map[string]int{"loss": 0}
	runs := []*runRecord{
		{name: "a", steps: line(1), index: index},
		{name: "b", steps: line(2), index: index, knn: []KNNScore{{Epoch: 0, KNN: 0.5}, {Epoch: 1, KNN: 0.25}, {Epoch: 2, KNN: 0.125}}},
	}
	charts := together(runs)
	for _, want := range []string{"Loss", "kNN accuracy"} {
		if !slices.ContainsFunc(charts, func(c report.Chart) bool { return c.Title == want }) {
			t.Errorf("no chart of %s", want)
		}
	}
	for _, c := range charts {
		if len(c.Series) != 2 || c.Series[1].Name != "b" {
			t.Errorf("%s: %+v", c.Title, c.Series)
		}
	}
	rows := results(runs).Rows
	want := [][]string{{"run", "steps", "loss", "kNN top-1", "best kNN", "seconds"}, {"a", "1", "1", "", "", ""}, {"b", "1", "2", "12.5 %", "25.0 %", "0"}}
	if !slices.EqualFunc(rows, want, slices.Equal) {
		t.Errorf("results %q, want %q", rows, want)
	}
}
