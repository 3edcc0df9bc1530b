package contraflow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/contraflow/contraflow"
)

// A loop carries decisions back; the wait for them is not booked as busy.
func TestFeedback(t *testing.T) {
	g := contraflow.New("loop")
	back := contraflow.Loop[int](g, "weights", 1).Between("update", "encode")
	inflight := -1
	var settled []int
	settle := func(ctx context.Context) error {
		if inflight < 0 {
			return nil
		}
		v, err := back.Recv(ctx)
		settled = append(settled, v)
		return err
	}
	enc := contraflow.Step(contraflow.Source(g, "numbers", count(20)), "encode", func(ctx context.Context, i int) (int, error) {
		err := settle(ctx)
		inflight = i
		return i, err
	}, contraflow.Finish(settle))
	contraflow.Each(enc, "update", func(ctx context.Context, i int) error {
		time.Sleep(2 * time.Millisecond)
		return back.Send(ctx, i)
	})
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(settled) != fmt.Sprint([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}) {
		t.Fatalf("settled %v", settled)
	}
	s := g.Stats().Stages[1]
	if s.Waited < 20*time.Millisecond || s.Busy > s.Waited {
		t.Errorf("encode waited %v and was busy %v", s.Waited, s.Busy)
	}
	if l := g.Stats().Loops; len(l) != 1 || l[0].Items != 20 || l[0].From != "update" {
		t.Errorf("loops %+v", l)
	}
}

// A full loop waits for its receiver, and cancelling ends the wait.
func TestFeedbackCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := contraflow.New("full")
		back := contraflow.Loop[int](g, "weights", 1)
		contraflow.Each(contraflow.Source(g, "numbers", count(5)), "send", func(ctx context.Context, i int) error { return back.Send(ctx, i) })
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := g.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		g = contraflow.New("empty")
		never := contraflow.Loop[int](g, "weights", 1)
		contraflow.Each(contraflow.Source(g, "numbers", count(5)), "recv", func(ctx context.Context, _ int) error { _, err := never.Recv(ctx); return err })
		ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := g.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
	})
}
