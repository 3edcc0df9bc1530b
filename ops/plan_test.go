package ops_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/ops"
)

// block is a residual block: the stem's output goes round it, and two values are marked.
func block() *ops.Graph {
	g := ops.NewGraph(ops.Shape{C: 3, H: 8, W: 8})
	x := g.ReLU(g.BatchNorm(g.Conv(g.Input(), "stem", ops.ConvOptions{Out: 4, Kernel: 3, Pad: 1}), "bn0"))
	y := g.BatchNorm(g.Conv(x, "a", ops.ConvOptions{Out: 4, Kernel: 1}), "bn1")
	g.Mark("inside", y)
	z := g.ReLU(g.Add(x, y))
	g.Mark("block", z)
	g.Linear(g.Flatten(g.AdaptiveAvgPool(z, 1)), "fc", 5, true)
	return g
}

// A plan fuses a norm with the sum and the ReLU that only it feeds, keeps what is returned apart, and leaves out what comes after
// the last output.
func TestPlan(t *testing.T) {
	for _, c := range []struct {
		o    ops.Options
		want string // kind, + for a sum, ! for a ReLU, * for a gradient
	}{
		{ops.Options{Batch: 4, Train: true, BNGroups: 2}, "conv* batchnorm!* conv* batchnorm+!* adaptiveavg* flatten* linear*"},
		{ops.Options{Batch: 4}, "conv batchnorm! conv batchnorm+! adaptiveavg flatten linear"},
		{ops.Options{Batch: 4, Outputs: []string{"inside", "block"}}, "conv batchnorm! conv batchnorm add relu"},
		{ops.Options{Batch: 4, Outputs: []string{"inside"}}, "conv batchnorm! conv batchnorm"},
	} {
		g := block()
		p, err := ops.NewPlan(g, g.Params, c.o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range p.Steps {
			text := s.Kind.String()
			if s.Kind == ops.BatchNorm {
				if len(s.In) == 2 {
					text += "+"
				}
				if s.Norm.ReLU {
					text += "!"
				}
				groups := 1
				if c.o.Train {
					groups = 2
				}
				if s.Norm.Batch != c.o.Train || s.Norm.Groups != groups || g.Params[s.Norm.Gamma].Role != ops.Gamma || g.Params[s.Norm.Batches].Role != ops.Batches {
					t.Errorf("%+v: norm %+v", c.o, s.Norm)
				}
			}
			if p.Needs != nil && p.Needs[s.Out] {
				text += "*"
			}
			got = append(got, text)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: got  %s\n%s", c.o, strings.Join(got, " "), c.want)
		}
	}
	g := block()
	p, _ := ops.NewPlan(g, g.Params, ops.Options{Batch: 2, Train: true})
	conv, fc := 2.*2*64*4*(27+4), 2.*2*4*5
	if p.FLOPs[0] != conv+fc || p.FLOPs[1] != 2*(conv+fc) || p.Needs[0] || p.OutputShape(0).C != 5 {
		t.Errorf("%v operations, want %v; input needs a gradient: %v", p.FLOPs, conv+fc, p.Needs[0])
	}
}

// Mistakes are told before a device does anything.
func TestPlanMistakes(t *testing.T) {
	g := block()
	other := append([]ops.ParamSpec(nil), g.Params...)
	other[1].Name = "elsewhere"
	for want, f := range map[string]func() error{
		"both must be at least 1": func() error { _, err := ops.NewPlan(g, g.Params, ops.Options{}); return err },
		`has no value "top": it has [inside block]`: func() error {
			_, err := ops.NewPlan(g, g.Params, ops.Options{Batch: 1, Outputs: []string{"top"}})
			return err
		},
		`"elsewhere"`: func() error { _, err := ops.NewPlan(g, other, ops.Options{Batch: 1}); return err },
		fmt.Sprintf("the graph has %d parameters, the set 1", len(g.Params)): func() error {
			_, err := ops.NewPlan(g, g.Params[:1], ops.Options{Batch: 1})
			return err
		},
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
