package flows

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/npz"
	"github.com/contraflow/contraflow/io/synth"
	"github.com/contraflow/contraflow/stages"
)

// broken spoils one step of an objective.
type broken struct {
	objective
	step int
	how  string
}

func (b broken) Score(s *stages.Scores) error {
	err := b.objective.Score(s)
	if s.Step == b.step {
		switch b.how {
		case "loss":
			s.Loss = math.Inf(1)
		case "gradient":
			s.D[0][3] = float32(math.NaN())
		case "backward": // finite, but not once it has gone through the head
			for i := range s.D[0] {
				s.D[0][i] = math.MaxFloat32
			}
		}
	}
	return err
}

// brokenRun is a small run whose step 2 is spoiled.
func brokenRun(t *testing.T, method, how, onNaN string) *Run {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	if err := synth.Write(context.Background(), data, synth.Options{Classes: 3, PerClass: 9, ValPerClass: 2, Size: 40, Seed: 5}); err != nil {
		t.Fatal(err)
	}
	o := Defaults(method)
	o.Data.Folder, o.Data.ImageSize, o.Data.Decoder = data, 32, "go"
	o.Net.Model = map[string]string{"cmc": "resnet18v1", "moco": "resnet18"}[method]
	o.Loss.K, o.Optim.BatchSize, o.Optim.Epochs, o.Net.FeatDim = 8, 8, 20, 16
	o.Run.ModelPath, o.Run.SaveFreq, o.Run.SaveSteps, o.Run.MaxSteps, o.Run.OnNaN, o.Run.Keep = t.TempDir(), 0, 1, 5, onNaN, 0
	r, err := Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	r.objective = broken{r.objective, 2, how}
	return r
}

// A step with numbers that are not finite ends the run by its number, its stage and a copy of its batch.
func TestNaNStops(t *testing.T) {
	for how, stage := range map[string]string{"loss": "stage \"update\": step 2: not finite in contrast: the loss is +Inf", "gradient": "stage \"update\": step 2: not finite in contrast: 1 of 128 values of the gradient of l",
		"backward": "stage \"encode\": step 2: not finite in backward: the gradient of tower l"} {
		r := brokenRun(t, "cmc", how, "stop")
		err := r.Train(context.Background())
		dir := filepath.Join(r.Dir, "nan-step-000000002")
		if err == nil || !strings.Contains(err.Error(), stage) || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", how, err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "batch.json"))
		if err != nil {
			t.Fatal(err)
		}
		var about troubleFile
		if err := json.Unmarshal(text, &about); err != nil || about.Step != 2 || len(about.Images) != 8 {
			t.Fatalf("%s: %v in %s", how, err, text)
		}
		f, err := npz.Open(filepath.Join(dir, "batch.npz"))
		if err != nil {
			t.Fatal(err)
		}
		view, err := f.Read("view_1")
		if err != nil || fmt.Sprint(view.Shape) != "[8 2 32 32]" {
			t.Errorf("%s: view_1 is %v, %v", how, view.Shape, err)
		}
		index, err := f.Read("index")
		if err != nil || index.Len() != 8 || !strings.Contains(about.Images[7], ".jpg") {
			t.Errorf("%s: index is %v, %v", how, index.Shape, err)
		}
		f.Close()
	}
}

// A step that is left out changes no parameter, no velocity and no running statistic, and training goes on.
func TestNaNSkips(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"cmc", "moco"} {
		for _, how := range []string{"loss", "gradient", "backward"} {
			r := brokenRun(t, method, how, "skip")
			skipped := 0
			r.OnSkip = func(step int, why string) {
				if step != 2 || !strings.Contains(why, "nan-step-000000002") {
					t.Errorf("%s %s: skipped step %d: %s", method, how, step, why)
				}
				skipped++
			}
			if err := r.Train(context.Background()); err != nil {
				t.Fatalf("%s %s: %v", method, how, err)
			}
			if skipped != 1 {
				t.Errorf("%s %s: told of %d skipped steps", method, how, skipped)
			}
			at := func(step int) []string {
				a, err := ReadState(filepath.Join(r.Dir, fmt.Sprintf("step-%09d", step)))
				if err != nil {
					t.Fatal(err)
				}
				b, err := ReadState(filepath.Join(r.Dir, fmt.Sprintf("step-%09d", step+1)))
				if err != nil {
					t.Fatal(err)
				}
				var lines []string
				for _, l := range Diff(a, b) {
					if !strings.HasPrefix(l, "cursor") && !strings.HasPrefix(l, bankPrefix) {
						lines = append(lines, l)
					}
				}
				return lines
			}
			if d := at(2); len(d) > 0 {
				t.Errorf("%s %s: the step that was left out changed %d tensors, %s", method, how, len(d), d[0])
			}
			if d := at(3); len(d) == 0 {
				t.Errorf("%s %s: nothing is learned after it", method, how)
			}
		}
	}
}

// An encoder that gives NaN spoils no row of the bank, and a run that only skips ends.
func TestNaNForGood(t *testing.T) {
	r := brokenRun(t, "cmc", "", "skip")
	r.o.Run.MaxSteps, r.o.Run.SaveSteps, r.sampler.MaxSteps = 0, 0, 0
	r.Between = func(_ context.Context, epoch int) error {
		spec := r.towers[1].Params.Specs()[0]
		x := make([]float32, spec.Len())
		x[0] = float32(math.NaN())
		return r.towers[1].Params.Write(spec.Name, x)
	}
	err := r.Train(context.Background())
	if err == nil || !strings.Contains(err.Error(), "20 steps in a row") || !strings.Contains(err.Error(), "values of the output of ab") {
		t.Errorf("got %v", err)
	}
	bank, err := r.objective.State(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bank {
		for _, v := range b.Data {
			if v != v {
				t.Fatalf("%s has NaN", b.Name)
			}
		}
	}
	if dirs, _ := filepath.Glob(filepath.Join(r.Dir, "nan-step-*")); len(dirs) != maxDumps {
		t.Errorf("%d batches were kept, want %d", len(dirs), maxDumps)
	}
}

// The meters of collapse are in metrics.jsonl, and the same for one run and its resumed half.
func TestHealthInMetrics(t *testing.T) {
	t.Parallel()
	r := brokenRun(t, "moco", "", "stop")
	m, err := NewMetrics(r.Dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.Observe = m.Write
	if err := r.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(r.Dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		spread, ok := v["ins_std"].(float64)
		rank, ranked := v["ins_rank"].(float64)
		if !ok || spread <= 0 || spread > 1.01 || ranked != (i == 0 || i == 3) || (ranked && (rank < 1 || rank > 8)) {
			t.Errorf("line %d: spread %v, rank %v in %s", i, v["ins_std"], v["ins_rank"], line)
		}
	}
}

// The batch is kept even when the rate is what is not finite.
func TestNaNOfTheRate(t *testing.T) {
	r := brokenRun(t, "cmc", "loss", "stop")
	r.o.Optim.LR = math.Inf(1)
	_, about := r.describe(&stages.Trouble{Batch: &stages.Batch{}})
	if text, err := json.Marshal(about); err != nil || !strings.Contains(string(text), `"learning_rate":"`) {
		t.Errorf("%v in %s", err, text)
	}
}
