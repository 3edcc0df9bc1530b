package stagetest_test

import (
	"context"
	"errors"
	"testing"

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
