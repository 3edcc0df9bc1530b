package stages_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// scribe is a device of one value a sample that writes down what it is told.
type scribe struct {
	log    *[]string
	name   string
	output float32
	norm   float64
	ops.Params
	ops.Program
}

func (s *scribe) note(format string, args ...any) {
	*s.log = append(*s.log, fmt.Sprintf(format, args...)+" "+s.name)
}

func (s *scribe) Forward(x []float32, n int) (ops.Tape, error) { s.note("forward"); return s, nil }
func (s *scribe) Output(int) []float32                         { s.note("output"); return []float32{s.output, s.output} }
func (s *scribe) Release()                                     { s.note("release") }
func (s *scribe) ZeroGrad()                                    { s.note("zero") }
func (s *scribe) SGD(lr, _, _ float64)                         { s.note("sgd") }
func (s *scribe) GradNorm() float64                            { return s.norm }
func (s *scribe) Backward(grads ...[]float32) ([]float32, error) {
	s.note("backward %v", grads[0][0])
	return nil, nil
}

// answers is a feedback edge that holds one value.
type answers struct{ g *stages.Gradients }

func (a *answers) Recv(context.Context) (*stages.Gradients, error) { return a.g, nil }

// Encode tells of outputs while later ones are waited for, and takes a gradient before the others: whatever comes of the step, the
// next one begins with none.
func TestEncodeEarly(t *testing.T) {
	var log []string
	l, ab := &scribe{log: &log, name: "l", output: 1, norm: 1}, &scribe{log: &log, name: "ab", output: 2, norm: 1}
	back := &answers{}
	e := &stages.Encode{Gradients: back, Passes: []stages.Pass{{Tower: 0, View: 0}, {Tower: 1, View: 1}}}
	for _, s := range []*scribe{l, ab} {
		e.Towers = append(e.Towers, stages.Tower{Name: s.name, Params: s, Program: s, Follows: -1})
	}
	e.Arrived = func(f *stages.Features, pass int) {
		log = append(log, fmt.Sprintf("arrived %d: %v", pass, f.Out[pass][0]))
	}
	run := func(step int) {
		t.Helper()
		b := &stages.Batch{Plan: stages.Plan{Step: step, Index: []int{0, 1}}, Views: [][]float32{{1, 2}, {3, 4}}}
		if _, err := e.Run(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, lines ...string) {
		t.Helper()
		if got := strings.Join(log, ", "); got != strings.Join(lines, ", ") {
			t.Errorf("%s:\n got %s\nwant %s", what, got, strings.Join(lines, ", "))
		}
		log = nil
	}
	passes := []string{"forward l", "forward ab", "output l", "arrived 0: 1", "output ab"}
	run(0)
	want("first step", passes...)
	if err := e.Backward(0, []float32{5, 6}); err != nil {
		t.Fatal(err)
	}
	want("an early gradient", "zero l", "zero ab", "backward 5 l")
	back.g = &stages.Gradients{Step: 0, D: [][]float32{{5, 6}, {7, 8}}}
	run(1)
	want("the other gradient", append([]string{"backward 7 ab", "sgd l", "sgd ab"}, passes...)...)
	if err := e.Backward(0, []float32{9, 9}); err != nil {
		t.Fatal(err)
	}
	back.g = &stages.Gradients{Step: 1, D: [][]float32{{9, 9}, {7, 8}}, Skip: true}
	run(2)
	want("a step that is left out", append([]string{"zero l", "zero ab", "backward 9 l", "release ab"}, passes...)...)
	back.g = &stages.Gradients{Step: 2, D: [][]float32{{1, 1}, {2, 2}}}
	l.output = float32(math.NaN())
	run(3)
	want("no early gradient, and an output that is not finite", "zero l", "zero ab", "backward 1 l", "backward 2 ab", "sgd l", "sgd ab", "forward l", "forward ab", "output l", "output ab")
	ab.norm = math.Inf(1)
	back.g = &stages.Gradients{Step: 3, D: [][]float32{{1, 1}, {2, 2}}}
	var trouble *stages.Trouble
	if err := e.Finish(context.Background()); !errors.As(err, &trouble) || !strings.Contains(err.Error(), "tower ab has norm +Inf") {
		t.Errorf("an infinite norm: %v", err)
	}
	want("no step", "zero l", "zero ab", "backward 1 l", "backward 2 ab")
}
