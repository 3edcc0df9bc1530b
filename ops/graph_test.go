package ops_test

import (
	"strings"
	"testing"

	"github.com/contraflow/contraflow/ops"
)

// The first mistake of a network is told with its sizes; what borders on one is none.
func TestGraphMistakes(t *testing.T) {
	type graph = *ops.Graph
	for _, c := range []struct {
		want string
		make func(g graph, x ops.Value)
	}{
		{"", func(g graph, x ops.Value) { g.Conv(x, "c", ops.ConvOptions{Out: 6, Kernel: 8, Pad: 1, Groups: 2}) }},
		{"conv c: 4 → 0 channels", func(g graph, x ops.Value) { g.Conv(x, "c", ops.ConvOptions{Kernel: 1}) }},
		{"conv c: 4 → 4 channels, kernel 0", func(g graph, x ops.Value) { g.Conv(x, "c", ops.ConvOptions{Out: 4}) }},
		{"conv c: 4 → 4 channels, kernel 1, pad -1", func(g graph, x ops.Value) { g.Conv(x, "c", ops.ConvOptions{Out: 4, Kernel: 1, Pad: -1}) }},
		{"conv c: 4 → 6 channels, kernel 1, pad 0, 3 groups", func(g graph, x ops.Value) { g.Conv(x, "c", ops.ConvOptions{Out: 6, Kernel: 1, Groups: 3}) }},
		{"conv c: 4 → 5 channels, kernel 1, pad 0, 2 groups", func(g graph, x ops.Value) { g.Conv(x, "c", ops.ConvOptions{Out: 5, Kernel: 1, Groups: 2}) }},
		{"a 9×9 window with pad 1 does not fit [4,8,6]: use larger images", func(g graph, x ops.Value) { g.Conv(x, "c", ops.ConvOptions{Out: 4, Kernel: 9, Pad: 1}) }},
		{"", func(g graph, x ops.Value) { g.MaxPool(x, 2, 2, 1) }},
		{"max pool: pad 2 is more than half of kernel 3", func(g graph, x ops.Value) { g.MaxPool(x, 3, 2, 2) }},
		{"average pool: kernel 0, stride 1", func(g graph, x ops.Value) { g.AvgPool(x, 0, 1) }},
		{"average pool: kernel 2, stride 0", func(g graph, x ops.Value) { g.AvgPool(x, 2, 0) }},
		{"", func(g graph, x ops.Value) { g.AvgPool(x, 6, 1) }},
		{"a 7×7 window with pad 0 does not fit [4,8,6]", func(g graph, x ops.Value) { g.AvgPool(x, 7, 1) }},
		{"adaptive pool: 0 bins", func(g graph, x ops.Value) { g.AdaptiveAvgPool(x, 0) }},
		{"add: shapes [4,8,6] and [4,4,3] differ", func(g graph, x ops.Value) { g.Add(x, g.MaxPool(x, 2, 2, 0)) }},
		{"linear fc: input [4,8,6] → 5: needs a vector", func(g graph, x ops.Value) { g.Linear(x, "fc", 5, true) }},
		{"linear fc: input [192,1,1] → 0", func(g graph, x ops.Value) { g.Linear(g.Flatten(x), "fc", 0, true) }},
		{"", func(g graph, x ops.Value) { g.Dropout(x, 0) }},
		{"dropout: rate 1 is outside", func(g graph, x ops.Value) { g.Dropout(x, 1) }},
		{"dropout: rate -0.5 is outside", func(g graph, x ops.Value) { g.Dropout(x, -0.5) }},
		{`mark "m" is used twice`, func(g graph, x ops.Value) { g.Mark("m", x); g.Mark("m", g.ReLU(x)) }},
		{"adaptive pool: 0 bins", func(g graph, x ops.Value) { g.Dropout(g.AdaptiveMaxPool(x, 0), 1) }},
	} {
		g := ops.NewGraph(ops.Shape{C: 4, H: 8, W: 6})
		c.make(g, g.Input())
		_, err := ops.NewPlan(g, g.Params, ops.Options{Batch: 1})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	for _, in := range []ops.Shape{{C: 0, H: 1, W: 1}, {C: 1, H: 0, W: 1}, {C: 1, H: 1, W: 0}} {
		if err := ops.NewGraph(in).Err(); err == nil {
			t.Errorf("input %v was accepted", in)
		}
	}
}
