//go:build cuda

package cuda_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda"
	"github.com/contraflow/contraflow/ops/pixel"
)

// Passes that are queued before the first is read show each its own batch, floats or pictures, though the places they are uploaded
// to take turns.
func TestPassesUnderWay(t *testing.T) {
	d := open(t, cuda.Options{})
	const n, h, w, passes = 2, 5, 7, 6
	pr := renderer(t, d, n, 3, h, w)
	space, err := pixel.LookupSpace("RGB")
	if err != nil {
		t.Fatal(err)
	}
	recipe, _ := space.Rendering([]int{0, 1, 2})
	batch := func(i int) []byte {
		rgb := make([]byte, n*h*w*3)
		for k := range rgb {
			rgb[k] = byte(31*i + k)
		}
		return rgb
	}
	kinds := map[string]func(i int) (ops.Tape, error){
		"floats":   func(i int) (ops.Tape, error) { return pr.(ops.Program).Forward(noise(n*3*h*w, 1, uint64(i)), n) },
		"pictures": func(i int) (ops.Tape, error) { return pr.ForwardPixels(ops.Pictures{RGB: batch(i), N: n}, recipe) },
	}
	for name, forward := range kinds {
		var want [passes][]float32
		for i := range want {
			tape, err := forward(i)
			if err != nil {
				t.Fatal(err)
			}
			want[i] = slices.Clone(tape.Output(0))
			tape.Release()
		}
		var tapes [passes]ops.Tape
		for i := range tapes {
			if tapes[i], err = forward(i); err != nil {
				t.Fatal(err)
			}
		}
		for i, tape := range tapes {
			if !slices.Equal(tape.Output(0), want[i]) {
				t.Errorf("%s: pass %d shows another batch", name, i)
			}
			tape.Release()
		}
	}
}

// Scores that are under way when rows change are those of the rows before, and each gives its own result, asked for in any order.
func TestBankScoresUnderWay(t *testing.T) {
	const n, w, k, b = 40, 48, 9, 3
	d := open(t, cuda.Options{}).(ops.Banker)
	bank, err := d.NewBank(n, w)
	if err != nil {
		t.Fatal(err)
	}
	rows := unit(noise(n*w, 1, 1), w)
	if err := bank.Write(rows); err != nil {
		t.Fatal(err)
	}
	scoring := func(i uint64) (ops.Scoring, []int32) {
		s := ops.Scoring{Queries: unit(noise(b*w, 1, 10+i), w), K: k, Mode: ops.ScoreSoftmax, T: 0.07, Factor: 1}
		for j := range b * (k + 1) {
			s.Index = append(s.Index, int32((7*j+int(i))%n))
		}
		return s, s.Index
	}
	const scores = 4
	var waits [scores]func() (ops.Scored, error)
	var grads [scores][]float32
	for i := range waits {
		s, _ := scoring(uint64(i))
		grads[i] = make([]float32, b*w)
		waits[i] = bank.Score(s, grads[i])
	}
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(i)
	}
	if err := bank.Update(ids, unit(noise(n*w, 1, 2), w), nil, 0, 1); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{2, 3, 0, 1} {
		got, err := waits[i]()
		if err != nil {
			t.Fatal(err)
		}
		s, index := scoring(uint64(i))
		want, wantGrad := contrast(s, rows, w, index)
		close32(t, "gradient", grads[i], wantGrad, 2e-5)
		for q := range b {
			if math.Abs(got.Loss[q]-want.Loss[q]) > 2e-5*math.Abs(want.Loss[q]) {
				t.Errorf("score %d, query %d: loss %v, want %v", i, q, got.Loss[q], want.Loss[q])
			}
		}
	}
}

// What does not fit is told by who waits for it, and a row that is not there at once.
func TestBankMistakes(t *testing.T) {
	const w = 8
	d := open(t, cuda.Options{}).(*cuda.Device)
	bank, err := d.NewBank(4, w)
	if err != nil {
		t.Fatal(err)
	}
	if err := bank.Put(3, make([]float32, 2*w)); err == nil {
		t.Error("rows behind the end of a bank were written")
	}
	if err := bank.Update([]int32{1, 4}, make([]float32, 2*w), nil, 0.5, 0.5); err == nil {
		t.Error("a row behind the end of a bank was updated")
	}
	_, _, total := d.Memory()
	n := int(total/(4*math.MaxInt32)) + 1 // a GPU may hold a few
	s := ops.Scoring{Queries: unit(noise(n*w, 1, 1), w), K: math.MaxInt32 - 1, IDs: make([]int32, n), Mode: ops.ScoreSoftmax, T: 1, Factor: 1}
	_, err = bank.Score(s, make([]float32, n*w))()
	var memory *cuda.OutOfMemory
	if !errors.As(err, &memory) || memory.What != "the rows drawn for a batch" {
		t.Errorf("a scoring of %d negatives: %v", s.K, err)
	}
}

// StepAll is GradNorm and SGD of every set, or of none when the gradient of one is not finite; calls that follow at once come after.
func TestStepAll(t *testing.T) {
	d := open(t, cuda.Options{})
	g := small()
	train := func(step func(a, b ops.Params) []float64, broken int) (weights [2][]float32, norms []float64) {
		var sets [2]ops.Params
		for i := range sets {
			p, err := d.NewParams(g)
			if err != nil {
				t.Fatal(err)
			}
			if err := encoders.Init(p, uint64(i), false); err != nil {
				t.Fatal(err)
			}
			pr, err := d.Compile(g, p, ops.Options{Batch: 4, Train: true, Direct: true})
			if err != nil {
				t.Fatal(err)
			}
			tape, err := pr.Forward(noise(4*g.Shape(0).Len(), 1, 3), 4)
			if err != nil {
				t.Fatal(err)
			}
			dy := noise(len(tape.Output(0)), 0.1, 4)
			if i == broken {
				dy[1] = float32(math.Inf(1))
			}
			p.ZeroGrad()
			if _, err := tape.Backward(dy); err != nil {
				t.Fatal(err)
			}
			sets[i] = p
		}
		norms = step(sets[0], sets[1])
		for i, p := range sets {
			p.ZeroGrad() // after the step, not before it
			for _, s := range p.Specs() {
				if s.Role.Trainable() {
					x := make([]float32, s.Len())
					if err := p.Read(s.Name, x); err != nil {
						t.Fatal(err)
					}
					weights[i] = append(weights[i], x...)
				}
			}
		}
		return weights, norms
	}
	one := func(a, b ops.Params) []float64 {
		norms := []float64{a.GradNorm(), b.GradNorm()}
		a.SGD(0.1, 0.9, 1e-4)
		b.SGD(0.1, 0.9, 1e-4)
		return norms
	}
	all := func(a, b ops.Params) []float64 {
		return a.(ops.Joint).StepAll([]ops.Params{a, b}, 0.1, 0.9, 1e-4)
	}
	none := func(a, b ops.Params) []float64 { return nil }
	want, wantNorms := train(one, -1)
	got, norms := train(all, -1)
	before, _ := train(none, -1)
	if !slices.Equal(norms, wantNorms) || norms[0] == 0 || math.IsNaN(norms[0]) {
		t.Errorf("norms %v, want %v", norms, wantNorms)
	}
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("set %d: other weights than after GradNorm and SGD", i)
		}
		if slices.Equal(got[i], before[i]) {
			t.Errorf("set %d: the step changed nothing", i)
		}
		broken, norms := train(all, i)
		if finite := norms[i]-norms[i] == 0; finite || norms[1-i] != wantNorms[1-i] {
			t.Errorf("set %d is broken: norms %v", i, norms)
		}
		for k := range want {
			if !slices.Equal(broken[k], before[k]) {
				t.Errorf("set %d is broken: the step changed weights of set %d", i, k)
			}
		}
	}
}
