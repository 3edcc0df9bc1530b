package stagetest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/contraflow/contraflow/stages/stagetest"
)

func TestStage(t *testing.T) {
	double := func(_ context.Context, i int) (int, error) {
		if i < 0 {
			return 0, errors.New("negative")
		}
		return 2 * i, nil
	}
	out := stagetest.Run(t, double, func() []int { return []int{3, 1, 2} }, true)
	if out[0] != 6 || out[1] != 2 || out[2] != 4 {
		t.Errorf("got %v", out)
	}
	if err := stagetest.Fails(t, double, -1); err.Error() != "negative" {
		t.Error(err)
	}
	stagetest.Cancel(t, func(ctx context.Context, _ int) (int, error) { <-ctx.Done(); return 0, ctx.Err() }, 0)
}

// failures is a test that keeps what it is told.
type failures struct {
	testing.TB
	n int
}

func (f *failures) Helper()               {}
func (f *failures) Errorf(string, ...any) { f.n++ }
func (f *failures) Error(...any)          { f.n++ }

// Stages that break the contract are found out.
func TestBrokenStages(t *testing.T) {
	change := func(_ context.Context, x []int) ([]int, error) {
		y := slices.Clone(x)
		x[0]++
		return y, nil
	}
	for _, parallel := range []bool{false, true} {
		f := &failures{TB: t}
		if stagetest.Run(f, change, func() [][]int { return [][]int{{1}, {2}} }, parallel); f.n == 0 {
			t.Errorf("parallel %v: a stage that changes its inputs passes", parallel)
		}
	}
	for name, fn := range map[string]func(context.Context, int) (int, error){
		"looks once": func(ctx context.Context, _ int) (int, error) {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			time.Sleep(time.Hour)
			return 0, errors.New("it took an hour")
		},
		"swallows the end": func(ctx context.Context, _ int) (int, error) { <-ctx.Done(); return 0, nil },
		"does not wait":    func(context.Context, int) (int, error) { return 0, errors.New("refused") },
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &failures{TB: t}
			if stagetest.Cancel(f, fn, 0); f.n == 0 {
				t.Errorf("a stage that %s passes Cancel", name)
			}
			time.Sleep(2 * time.Hour) // until it has ended too
		})
	}
}
