package bank_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/bank"
	"github.com/contraflow/contraflow/ops"
)

// far is a device that holds nothing and takes everything.
type far struct{ ops.Bank }

func (f far) NewBank(int, int) (ops.Bank, error) { return f, nil }
func (far) Write([]float32) error                { return nil }
func (far) Put(int, []float32) error             { return nil }
func (far) Score(ops.Scoring, []float32) func() (ops.Scored, error) {
	return func() (ops.Scored, error) { return ops.Scored{}, errors.New("reached the device") }
}

func newLoss(t *testing.T) *bank.Loss {
	t.Helper()
	l, err := bank.NewLoss(true, 0.07, 4)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A batch that does not fit the bank is an error before any kernel, here or on a device, reads what is not the bank's. Rows of 128
// values are what vector kernels take, which look at no bound.
func TestMisfits(t *testing.T) {
	const n, d, k, rows = 3, 128, 2, 4
	all := make([]float32, 100*d)
	memory := func(mutate func(b *bank.Batch)) bank.Batch {
		b := bank.Batch{Queries: all[:n*d], Rows: all[:rows*d], D: d, K: k, Index: []int32{0, 1, 2, 3, 2, 1, 0, 3, 3}}
		mutate(&b)
		return b
	}
	queue := func(mutate func(b *bank.Batch)) bank.Batch {
		b := bank.Batch{Queries: all[:n*d], Positives: all[:n*d], Rows: all[:rows*d], D: d, K: rows}
		mutate(&b)
		return b
	}
	for _, c := range []struct {
		want  string
		batch bank.Batch
	}{
		{"", memory(func(*bank.Batch) {})},
		{"", queue(func(*bank.Batch) {})},
		{"", memory(func(b *bank.Batch) { b.Draw = &bank.Drawing{Sampler: bank.Sampler{N: rows}, IDs: []int{0, 3, 0}} })},
		{"positive 4: there are 4 rows", memory(func(b *bank.Batch) { b.Draw = &bank.Drawing{Sampler: bank.Sampler{N: rows}, IDs: []int{0, 4, 0}} })},
		{"2 positives for 3 queries", memory(func(b *bank.Batch) {
			b.Index, b.Draw = nil, &bank.Drawing{Sampler: bank.Sampler{N: rows}, IDs: []int{0, 3}}
		})},
		{"negatives are drawn from 5 rows: there are 4", memory(func(b *bank.Batch) { b.Draw = &bank.Drawing{Sampler: bank.Sampler{N: rows + 1}} })},
		{"index 50: there are 4 rows", memory(func(b *bank.Batch) { b.Index[8] = 50 })},
		{"index 4: there are 4 rows", memory(func(b *bank.Batch) { b.Index[0] = 4 })},
		{"index -1: there are 4 rows", memory(func(b *bank.Batch) { b.Index[3] = -1 })},
		{"8 indices for 3 queries with 2 negatives each", memory(func(b *bank.Batch) { b.Index = b.Index[:8] })},
		{"queries of 300 values: rows have 128", memory(func(b *bank.Batch) { b.Queries = all[:300] })},
		{"presence of 2 of 3 queries", memory(func(b *bank.Batch) { b.Present = []bool{true, true} })},
		{"5 negatives of 4 rows", queue(func(b *bank.Batch) { b.K = 5 })},
		{"positives of 128 values for queries of 384", queue(func(b *bank.Batch) { b.Positives = all[:d] })},
	} {
		_, err := newLoss(t).Score(c.batch, make([]float32, len(c.batch.Queries)), nil)
		if got := message(err); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		m, err := bank.NewMemory(rows, d, 0.5, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.MoveTo(far{}); err != nil {
			t.Fatal(err)
		}
		want := c.want
		if want == "" {
			want = "reached the device"
		}
		if _, err := m.Begin(newLoss(t), c.batch, make([]float32, len(c.batch.Queries))).Wait(); message(err) != want {
			t.Errorf("on a device: got %q, want %q", message(err), want)
		}
	}
	if _, err := newLoss(t).Score(memory(func(b *bank.Batch) { b.D = 0 }), make([]float32, n*d), nil); message(err) != "rows of 0 values: D must be at least 1" {
		t.Errorf("rows without values: got %v", err)
	}
	drawn := memory(func(b *bank.Batch) {
		b.Index, b.Draw = nil, &bank.Drawing{Sampler: bank.Sampler{N: rows}, IDs: []int{0, 3, 0}}
	})
	if _, err := newLoss(t).Score(drawn, make([]float32, n*d), nil); message(err) != "negatives that are to be drawn: only a device draws them" {
		t.Errorf("negatives not drawn: got %v", err)
	}
	if _, err := (&bank.Loss{}).Score(memory(func(*bank.Batch) {}), make([]float32, n*d), nil); message(err) != "a loss must be made by NewLoss" {
		t.Errorf("the zero loss: got %v", err)
	}
}

// message is what an error of the bank says; empty for none.
func message(err error) string {
	if err == nil {
		return ""
	}
	return strings.TrimPrefix(err.Error(), "bank: ")
}

// What panics on any core panics where Score was called, and the loss goes on.
func TestPanicOfACore(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	const n, d, k = 64, 8, 4
	l, x := newLoss(t), make([]float32, n*d)
	b := bank.Batch{Queries: x, Positives: x, Rows: x, D: d, K: k}
	score := func(scores []float32) (panicked any) {
		defer func() { panicked = recover() }()
		if _, err := l.Score(b, make([]float32, n*d), scores); err != nil {
			t.Error(err)
		}
		return nil
	}
	if score([]float32{}) == nil {
		t.Error("no room for the scores, and no panic")
	}
	scores := make([]float32, n*(k+1))
	if p := score(scores); p != nil {
		t.Errorf("the next call: %v", p)
	}
}

// Keys that are no whole rows are refused wherever the rows are, and change nothing.
func TestPushWholeRows(t *testing.T) {
	for _, device := range []bool{false, true} {
		q, err := bank.NewQueue(4, 8, 1)
		if err != nil {
			t.Fatal(err)
		}
		if device {
			if err := q.MoveTo(far{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Push(make([]float32, 12)); message(err) != "12 values pushed: rows have 8" || q.Pointer != 0 {
			t.Errorf("device %v: got %v, the next key goes to %d", device, err, q.Pointer)
		}
		if err := q.Push(make([]float32, 16)); err != nil || q.Pointer != 2 {
			t.Errorf("device %v: %v, the next key goes to %d", device, err, q.Pointer)
		}
	}
}
