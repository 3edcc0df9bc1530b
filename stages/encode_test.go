package stages_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
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

// echo is a tower of one value a sample that keeps what it is given: its output is twice its input.
type echo struct {
	scribe
	x, grads []float32
}

func (e *echo) Forward(x []float32, n int) (ops.Tape, error) {
	e.x = slices.Clone(x[:n])
	return e, nil
}

func (e *echo) Output(int) []float32 {
	out := slices.Clone(e.x)
	for i := range out {
		out[i] *= 2
	}
	return out
}

func (e *echo) OutputShape(int) ops.Shape { return ops.Shape{C: 1, H: 1, W: 1} }

func (e *echo) Specs() []ops.ParamSpec { return nil }

func (e *echo) Backward(grads ...[]float32) ([]float32, error) {
	e.grads = slices.Clone(grads[0])
	return nil, nil
}

// A tower encodes the samples that have its view, and only their gradients come back to it. A lone one counts as none.
func TestEncodeSome(t *testing.T) {
	var log []string
	whole, some := &echo{scribe: scribe{log: &log}}, &echo{scribe: scribe{log: &log}}
	back := &answers{}
	e := &stages.Encode{Gradients: back, Passes: []stages.Pass{{Tower: 0, View: 0}, {Tower: 1, View: 1}}}
	for _, s := range []*echo{whole, some} {
		e.Towers = append(e.Towers, stages.Tower{Params: s, Program: s, Follows: -1})
	}
	for step, c := range []struct {
		present    []bool // of the second view
		out, grads string // of the second tower
	}{
		{[]bool{true, false, true, false}, "[10 0 14 0]", "[5 7]"},
		{[]bool{false, false, true, false}, "[0 0 0 0]", "[]"},
		{[]bool{false, true, true, true}, "[0 12 14 16]", "[6 7 8]"},
		{[]bool{true, true, true, true}, "[10 12 14 16]", "[5 6 7 8]"},
		{nil, "[10 12 14 16]", "[5 6 7 8]"},
	} {
		b := &stages.Batch{Plan: stages.Plan{Step: step, Index: []int{0, 1, 2, 3}}, Views: [][]float32{{1, 2, 3, 4}, {5, 6, 7, 8}},
			Shapes: [][3]int{{1, 1, 1}, {1, 1, 1}}, Present: [][]bool{nil, c.present}}
		f, err := e.Run(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(f.Out[1]); got != c.out || fmt.Sprint(f.Out[0]) != "[2 4 6 8]" {
			t.Errorf("%v: the towers give %v and %v, want %s", c.present, f.Out[0], got, c.out)
		}
		if c.grads == "[]" && slices.Contains(b.Present[1], true) {
			t.Errorf("a lone sample still counts: %v", b.Present[1])
		}
		some.grads = nil
		back.g = &stages.Gradients{Step: step, D: [][]float32{{1, 2, 3, 4}, {5, 6, 7, 8}}}
		if err := e.Finish(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(some.grads); got != c.grads || fmt.Sprint(whole.grads) != "[1 2 3 4]" {
			t.Errorf("%v: gradients %v and %v, want %s", c.present, whole.grads, got, c.grads)
		}
	}
}

// Steps whose gradient is not finite are left out by the device's owner too, as long as they are not too many in a row.
func TestEncodeLeavesOut(t *testing.T) {
	var log []string
	tower, back, told := &echo{scribe: scribe{log: &log, name: "l"}}, &answers{}, 0
	e := &stages.Encode{Gradients: back, Passes: []stages.Pass{{}}, Towers: []stages.Tower{{Name: "l", Params: tower, Program: tower, Follows: -1}},
		SkipNaN: true, NaN: func(*stages.Trouble) error { told++; return nil }}
	step := func(norm float64) error {
		log = nil
		if _, err := e.Run(context.Background(), &stages.Batch{Plan: stages.Plan{Index: []int{0}}, Views: [][]float32{{1}}, Shapes: [][3]int{{1, 1, 1}}}); err != nil {
			return err
		}
		tower.norm, back.g = norm, &stages.Gradients{D: [][]float32{{1}}}
		if err := e.Finish(context.Background()); err != nil {
			return err
		}
		if taken := slices.Contains(log, "sgd l"); taken != (norm == 1) {
			t.Errorf("a gradient of norm %v, and a step is taken: %v", norm, taken)
		}
		return nil
	}
	const most = 20 // in a row end a run
	for range 2 {
		for range most - 1 {
			if err := step(math.NaN()); err != nil {
				t.Fatal(err)
			}
		}
		if err := step(1); err != nil {
			t.Fatal(err)
		}
	}
	for range most - 1 {
		if err := step(math.Inf(1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := step(math.Inf(1)); err == nil || told != 3*most-2 {
		t.Errorf("%d steps in a row were left out, %d in all were told of: %v", most, told, err)
	}
}
