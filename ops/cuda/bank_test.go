//go:build cuda

package cuda_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda"
)

func noise(n int, scale float32, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = scale * float32(r.NormFloat64())
	}
	return v
}

// unit scales rows of d to length one.
func unit(v []float32, d int) []float32 {
	for at := 0; at < len(v); at += d {
		var s float64
		for _, x := range v[at:][:d] {
			s += float64(x) * float64(x)
		}
		for i := range d {
			v[at+i] /= float32(math.Sqrt(s))
		}
	}
	return v
}

// contrast is ops.Bank.Score in float64, the plain way.
func contrast(s ops.Scoring, rows []float32, d int, index []int32) (out ops.Scored, grad []float64) {
	n := len(s.Queries) / d
	grad = make([]float64, n*d)
	out = ops.Scored{Loss: make([]float64, n), First: make([]float64, n), Sum: make([]float64, n)}
	for q := range n {
		if s.Present != nil && !s.Present[q] {
			continue
		}
		row := func(j int) []float32 {
			switch {
			case index != nil:
				return rows[int(index[q*(s.K+1)+j])*d:][:d]
			case j == 0:
				return s.Positives[q*d:][:d]
			}
			return rows[(j-1)*d:][:d]
		}
		scores := make([]float64, s.K+1)
		for j := range scores {
			for i, v := range row(j) {
				scores[j] += float64(v) * float64(s.Queries[q*d+i])
			}
			out.Sum[q] += math.Exp(scores[j] / s.T)
		}
		out.First[q] = scores[0]
		for j, v := range scores {
			var coef float64
			if s.Mode == ops.ScoreSoftmax {
				coef = math.Exp(v/s.T) / out.Sum[q]
				if j == 0 {
					coef--
					out.Loss[q] = math.Log(out.Sum[q]) - v/s.T
				}
			} else {
				p, c := math.Exp(v/s.T)/s.Z, s.C0+1e-7
				coef = p / (p + c)
				if j == 0 {
					coef = -c / (p + c)
					out.Loss[q] -= math.Log(p / (p + c))
				} else {
					out.Loss[q] -= math.Log(s.C0 / (p + c))
				}
			}
			for i, w := range row(j) {
				grad[q*d+i] += s.Factor * coef * float64(w)
			}
		}
	}
	return out, grad
}

func close32(t *testing.T, what string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	var scale float64
	for _, w := range want {
		scale = max(scale, math.Abs(w))
	}
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - w); !(d <= tolerance*max(scale, 1e-3)) {
			t.Errorf("%s: value %d is %v, want %v (largest %v)", what, i, got[i], w, scale)
			return
		}
	}
}

// Scores, losses and gradients of a bank agree with float64, for every width of lanes, with drawn and given rows and a queue,
// over several blocks, and with queries that do not count.
func TestBankScores(t *testing.T) {
	d := open(t, cuda.Options{}).(ops.Banker)
	for _, c := range []struct {
		name    string
		w, k, n int
		mode    ops.LossMode
		kind    string // draw, index, queue
		present bool
	}{
		{"nce drawn", 128, 37, 50, ops.ScoreNCE, "draw", false},
		{"nce given, absent", 128, 5, 9, ops.ScoreNCE, "index", true},
		{"softmax drawn, two blocks", 24, 1100, 60, ops.ScoreSoftmax, "draw", false},
		{"softmax queue", 64, 33, 33, ops.ScoreSoftmax, "queue", false},
		{"nce queue, wide", 200, 12, 12, ops.ScoreNCE, "queue", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			const b = 3
			bank, err := d.NewBank(c.n, c.w)
			if err != nil {
				t.Fatal(err)
			}
			rows := unit(noise(c.n*c.w, 1, 7), c.w)
			if err := bank.Write(rows); err != nil {
				t.Fatal(err)
			}
			s := ops.Scoring{Queries: unit(noise(b*c.w, 1, 8), c.w), K: c.k, Mode: c.mode, T: 0.07, Z: 900, C0: float64(c.k) / 1000, Factor: 0.25, Seed: 11, Stream: 1<<63 + 5}
			ids := []int32{4, 0, 8}
			r := rand.NewPCG(s.Seed, s.Stream)
			var index []int32
			for _, id := range ids {
				index = append(index, id)
				for range c.k {
					index = append(index, int32((r.Uint64()>>32)*uint64(c.n)>>32))
				}
			}
			switch c.kind {
			case "draw":
				s.IDs = ids
			case "index":
				s.Index = index
			case "queue":
				s.Positives, index = unit(noise(b*c.w, 1, 9), c.w), nil
			}
			if c.present {
				s.Present = []bool{true, false, true}
			}
			grad := make([]float32, b*c.w)
			got, err := bank.Score(s, grad)()
			if err != nil {
				t.Fatal(err)
			}
			want, wantGrad := contrast(s, rows, c.w, index)
			close32(t, "gradient", grad, wantGrad, 2e-5)
			for q := range b {
				if math.Abs(got.Loss[q]-want.Loss[q]) > 2e-5*math.Abs(want.Loss[q]) || math.Abs(got.First[q]-want.First[q]) > 1e-6 {
					t.Errorf("query %d: loss %v and similarity %v, want %v and %v", q, got.Loss[q], got.First[q], want.Loss[q], want.First[q])
				}
			}
			s.Mode = ops.ScoreSums
			if got, err = bank.Score(s, grad)(); err != nil {
				t.Fatal(err)
			}
			for q := range b {
				if math.Abs(got.Sum[q]-want.Sum[q]) > 2e-5*want.Sum[q] {
					t.Errorf("query %d: sum %v, want %v", q, got.Sum[q], want.Sum[q])
				}
			}
			close32(t, "gradient after a sum", grad, wantGrad, 2e-5)
		})
	}
}

// Updates follow each other where an id occurs twice, also when the place that they travel through grows in between, and rows keep
// length one.
func TestBankUpdates(t *testing.T) {
	const n, w = 6, 40
	d := open(t, cuda.Options{}).(ops.Banker)
	bank, err := d.NewBank(n, w)
	if err != nil {
		t.Fatal(err)
	}
	rows, x := unit(noise(n*w, 1, 1), w), unit(noise(4*w, 1, 2), w)
	if err := bank.Write(rows); err != nil {
		t.Fatal(err)
	}
	want := make([]float64, n*w)
	for i, v := range rows {
		want[i] = float64(v)
	}
	ids, present := []int32{2, 5, 2, 0}, []bool{true, true, true, false}
	for b, id := range ids {
		if !present[b] {
			continue
		}
		var s float64
		row := want[int(id)*w:][:w]
		for i := range row {
			row[i] = 0.5*row[i] + 0.5*float64(x[b*w+i])
			s += row[i] * row[i]
		}
		for i := range row {
			row[i] /= math.Sqrt(s)
		}
	}
	if err := bank.Put(1, x[w:2*w]); err != nil {
		t.Fatal(err)
	}
	for i := range w {
		want[w+i] = float64(x[w+i])
	}
	if err := bank.Update(ids, x, present, 0.5, 0.5); err != nil {
		t.Fatal(err)
	}
	if err := bank.Put(4, x[:w]); err != nil {
		t.Fatal(err)
	}
	for i := range w {
		want[4*w+i] = float64(x[i])
	}
	got := make([]float32, n*w)
	if err := bank.Read(got); err != nil {
		t.Fatal(err)
	}
	close32(t, "rows", got, want, 1e-6)
}
