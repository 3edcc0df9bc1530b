package flows_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
)

// drawn are normal rows of a dimension.
func drawn(r *rand.Rand, n, dim int) *flows.FeatureSet {
	f := &flows.FeatureSet{Dim: dim, Rows: make([]float32, n*dim), Labels: make([]int, n), Index: make([]int, n)}
	for i := range f.Rows {
		f.Rows[i] = float32(r.NormFloat64())
	}
	return f
}

// Search finds what comparing every pair in float64 and looking at all of them finds, whatever the blocks; equal rows come in
// their order.
func TestKNNSearch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct{ rows, queries, dim, k int }{{1, 1, 32, 5}, {700, 37, 64, 20}, {700, 16, 33, 1}, {513, 3, 32, 513}} {
		train, query := drawn(r, c.rows, c.dim), drawn(r, c.queries, c.dim)
		for i := 5; i < c.rows; i += 7 { // copies
			copy(train.Row(i), train.Row(i-5))
		}
		found, err := flows.KNN{K: c.k, T: 1}.Search(train, query)
		if err != nil {
			t.Fatal(err)
		}
		for q, list := range found {
			if len(list) != min(c.k, c.rows) {
				t.Fatalf("%+v: query %d has %d neighbours", c, q, len(list))
			}
			taken := map[int]bool{}
			least := math.Inf(1)
			for i, n := range list {
				if want := cosine(query.Row(q), train.Row(n.Row)); math.Abs(n.Similarity-want) > 1e-5 {
					t.Fatalf("%+v: query %d, row %d: similarity %v, want %v", c, q, n.Row, n.Similarity, want)
				}
				if i > 0 && (n.Similarity > list[i-1].Similarity || n.Similarity == list[i-1].Similarity && n.Row < list[i-1].Row) {
					t.Fatalf("%+v: query %d: %+v comes after %+v", c, q, n, list[i-1])
				}
				taken[n.Row], least = true, n.Similarity
			}
			for row := range c.rows {
				if s := cosine(query.Row(q), train.Row(row)); !taken[row] && s > least+1e-5 {
					t.Fatalf("%+v: query %d: row %d at %v was left out, the last taken is at %v", c, q, row, s, least)
				}
			}
		}
	}
}

// The rows that are searched are not copied: features of ImageNet take gigabytes.
func TestKNNSearchMemory(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	train, query := drawn(r, 8192, 64), drawn(r, 1, 64)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := (flows.KNN{K: 5, T: 1}).Search(train, query); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took, rows := after.TotalAlloc-before.TotalAlloc, uint64(4*len(train.Rows)); took > rows/4 {
		t.Errorf("a search of %d bytes of rows took %d", rows, took)
	}
}

// Neither a temperature at which exp(1/T) is no number nor more neighbours than anyone has changes what a vote is.
func TestKNNLimits(t *testing.T) {
	train := &flows.FeatureSet{Dim: 2, Rows: []float32{1, 0, 0, 1, 1, 0.1}, Labels: []int{1, 0, 1}}
	query := &flows.FeatureSet{Dim: 2, Rows: []float32{1, 0.05, 0.1, 1}, Labels: []int{1, 0}}
	for _, k := range []flows.KNN{{K: 3, T: 0.07}, {K: 3, T: 0.001}, {K: 2, T: 1e-300}, {K: math.MaxInt, T: 0.07}} {
		if share, err := k.Top1(train, query); err != nil || share != 1 {
			t.Errorf("%+v: %v of the queries, %v", k, share, err)
		}
	}
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab, aa, bb = ab+float64(a[i])*float64(b[i]), aa+float64(a[i])*float64(a[i]), bb+float64(b[i])*float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

// A run that is told to stop before a score that is due makes up for it when it goes on: the first one, one between epochs, the last,
// before which training is over.
func TestKNNCurveOfAResumedRun(t *testing.T) {
	t.Parallel()
	o := small(t, "cmc", images(t))
	o.Run.KNNEvery, o.Run.KNNImages, o.Run.TBPath, o.Run.Name, o.Run.Resume = 1, 100, "", "resumed", "auto"
	ctx := context.Background()
	const steps = 8
	for _, c := range []struct {
		last              int // step after which it is told to stop
		trained, finished error
	}{{-1, flows.ErrStopped, nil}, {steps/2 - 1, flows.ErrStopped, nil}, {steps - 1, nil, flows.ErrStopped}, {steps, nil, nil}} {
		r, err := flows.Prepare(o)
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		r.Stop = stop
		if c.last < 0 {
			close(stop)
		}
		j, err := flows.NewJudge(ctx, r, nil)
		if err != nil {
			t.Fatalf("stopped after step %d: %v", c.last, err)
		}
		r.Observe = func(rep *flows.StepReport) {
			if rep.Plan.Step == c.last {
				close(stop)
			}
		}
		trained := r.Train(ctx)
		if finished := j.Finish(ctx, trained); !errors.Is(trained, c.trained) || !errors.Is(finished, c.finished) {
			t.Fatalf("stopped after step %d: training: %v, finishing: %v", c.last, trained, finished)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(o.Run.ModelPath, "resumed", "knn.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"epoch":0`, `"epoch":1`, `"epoch":2`} {
		if strings.Count(string(raw), want) != 1 {
			t.Errorf("want one line with %s:\n%s", want, raw)
		}
	}
}

// A run that ended within an epoch and goes on to the epoch's end owes a score of that end, though the epoch has one already.
func TestKNNOfAnEpochGoneOnWith(t *testing.T) {
	t.Parallel()
	o := small(t, "insdis", images(t)) // four steps an epoch
	o.Run.KNNEvery, o.Run.KNNImages, o.Run.TBPath, o.Run.Name, o.Run.Resume = 1, 20, "", "run", "auto"
	for _, c := range []struct{ steps, stopped int }{{3, -1}, {4, 3}, {5, -1}} {
		o.Run.MaxSteps = c.steps
		r, err := flows.Prepare(o)
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		r.Stop = stop
		j, err := flows.NewJudge(context.Background(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Observe = func(rep *flows.StepReport) {
			if rep.Plan.Step == c.stopped {
				close(stop)
			}
		}
		trained := r.Train(context.Background())
		if err := j.Finish(context.Background(), trained); trained != nil || err != nil && !errors.Is(err, flows.ErrStopped) {
			t.Fatalf("%d steps: training: %v, finishing: %v", c.steps, trained, err)
		}
		r.Close()
	}
	raw, err := os.ReadFile(filepath.Join(o.Run.ModelPath, "run", "knn.jsonl"))
	if err != nil || !strings.Contains(string(raw), `"step":3`) {
		t.Errorf("no score after the epoch's last step: %v\n%s", err, raw)
	}
}

// Scores of steps that a run does again are dropped, also by a run that scores itself no more.
func TestScoresOfStepsDoneAgain(t *testing.T) {
	o := small(t, "cmc", images(t))
	o.Run.TBPath, o.Run.Name, o.Run.MaxSteps = "", "run", 1
	run(t, o)
	file := filepath.Join(o.Run.ModelPath, "run", "knn.jsonl")
	const kept = `{"step":0,"epoch":1,"knn":0.5,"seconds":1,"k":4}` + "\n"
	put(t, file, []byte(kept+`{"step":1,"epoch":1,"knn":0.9,"seconds":2,"k":4}`+"\n"))
	o.Run.Resume, o.Run.MaxSteps = "auto", 2
	r, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	j, err := flows.NewJudge(context.Background(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Train(context.Background()), j.Finish(context.Background(), nil)); err != nil {
		t.Fatal(err)
	}
	if scores, err := os.ReadFile(file); err != nil || string(scores) != kept {
		t.Errorf("%v: %s", err, scores)
	}
}

// A run that went further than --max_steps says now makes up for the score of the step that it is at.
func TestScoreOfARunPastItsEnd(t *testing.T) {
	o := small(t, "cmc", images(t))
	o.Run.TBPath, o.Run.Name = "", "run"
	run(t, o)
	o.Run.Resume, o.Run.MaxSteps, o.Run.KNNEvery, o.Run.KNNImages = "auto", 1, 1, 100
	r, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	j, err := flows.NewJudge(context.Background(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Finish(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	scores, err := os.ReadFile(filepath.Join(r.Dir, "knn.jsonl"))
	if last := fmt.Sprintf(`{"step":%d,"epoch":2,`, r.Start()-1); err != nil || !strings.HasPrefix(string(scores), last) || strings.Count(string(scores), "\n") != 1 {
		t.Errorf("%v: %s", err, scores)
	}
}
