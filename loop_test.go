package contraflow_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reugn/go-streams/flow"

	"github.com/contraflow/contraflow"
)

// A loop carries decisions back; the wait for them is not booked as busy.
func TestFeedback(t *testing.T) { synctest.Test(t, feedback) }

func feedback(t *testing.T) {
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
	if s.Waited != 40*time.Millisecond || s.Busy != 0 {
		t.Errorf("encode waited %v and was busy %v", s.Waited, s.Busy)
	}
	if l := g.Stats().Loops; len(l) != 1 || l[0].Items != 20 || l[0].From != "update" {
		t.Errorf("loops %+v", l)
	}
}

// One answer comes for every batch that a foreign flow gathers: the receiver sends a whole one before it waits.
func TestFeedbackOfBatches(t *testing.T) {
	const size = 3
	g := contraflow.New("batches")
	back := contraflow.Loop[int](g, "sums", size).Between("update", "encode")
	var sums []int
	sent := 0
	settle := func(ctx context.Context) error {
		v, err := back.Recv(ctx)
		sums = append(sums, v)
		return err
	}
	p := contraflow.Step(contraflow.Source(g, "numbers", count(4*size)), "encode", func(ctx context.Context, i int) (int, error) {
		if sent++; sent > size {
			sent = 1
			return i, settle(ctx)
		}
		return i, nil
	}, contraflow.Finish(settle))
	batches := contraflow.Through[int, []int](p, "batch", flow.NewBatch[int](size, time.Hour), contraflow.Holds(size))
	contraflow.Each(batches, "update", func(ctx context.Context, b []int) error { return back.Send(ctx, b[0]+b[1]+b[2]) })
	if err := g.Run(context.Background()); err != nil || fmt.Sprint(sums) != "[3 12 21 30]" {
		t.Error(sums, err)
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

// A wait that a stage ends with a context of its own is an error of the stage like any other, in every kind of stage.
func TestFeedbackOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, workers := range []int{1, 2} {
			g := contraflow.New("own")
			never := contraflow.Loop[int](g, "never", 1)
			complete := false
			p := contraflow.Step(contraflow.Source(g, "numbers", count(2)), "wait", func(ctx context.Context, i int) (int, error) {
				if i == 0 {
					return i, nil
				}
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				_, err := never.Recv(ctx)
				return i, err
			}, contraflow.Workers(workers))
			contraflow.Each(p, "sink", func(context.Context, int) error { return nil }, contraflow.Finish(func(context.Context) error { complete = true; return nil }))
			err := g.Run(context.Background())
			if !errors.Is(err, context.DeadlineExceeded) || err.Error() != `stage "wait": context deadline exceeded` || complete {
				t.Errorf("%d workers: %v, complete %v", workers, err, complete)
			}
		}
	})
}

// What a call leaves waiting on a feedback edge is not its stage's: that is neither stuck nor waiting.
func TestFeedbackLeftBehind(t *testing.T) {
	for _, patience := range []time.Duration{5 * time.Second, 10200 * time.Millisecond} { // between two calls, and in the second one
		synctest.Test(t, func(t *testing.T) { leaveBehind(t, patience) })
	}
}

func leaveBehind(t *testing.T, patience time.Duration) {
	g := contraflow.New("left", contraflow.WithWatchdog(time.Second, func(s contraflow.Stuck) {
		if s.Stage == "wait" {
			t.Errorf("stuck: %+v", s)
		}
	}))
	never := contraflow.Loop[int](g, "never", 1)
	numbers := contraflow.Source(g, "numbers", func(yield func(int, error) bool) {
		for i := range 2 {
			if !yield(i, nil) {
				return
			}
			time.Sleep(10 * time.Second)
		}
	})
	contraflow.Each(numbers, "wait", func(ctx context.Context, i int) error {
		if i == 0 {
			ctx, cancel := context.WithTimeout(ctx, patience)
			go func() {
				defer cancel()
				never.Recv(ctx)
			}()
			synctest.Wait() // until it waits
			return nil
		}
		time.Sleep(500 * time.Millisecond)
		return nil
	})
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s, _ := g.Stats().Stage("wait"); s.Waited != 0 || s.Busy != 500*time.Millisecond || s.Max != s.Busy {
		t.Errorf("patience of %v: waited %v, busy %v, longest call %v", patience, s.Waited, s.Busy, s.Max)
	}
}

// A call that waits on two feedback edges at once waits from the first to the last, and is not stuck.
func TestFeedbackTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := contraflow.New("together", contraflow.WithWatchdog(time.Second, func(s contraflow.Stuck) { t.Errorf("stuck: %+v", s) }))
		a, b := contraflow.Loop[int](g, "a", 1), contraflow.Loop[int](g, "b", 1)
		contraflow.Each(contraflow.Source(g, "numbers", count(1)), "wait", func(ctx context.Context, _ int) error {
			var wg sync.WaitGroup
			for i, l := range []*contraflow.Feedback[int]{a, b} {
				wg.Go(func() { l.Recv(ctx) })
				wg.Go(func() { time.Sleep(time.Duration(5+5*i) * time.Second); l.Send(context.Background(), 1) })
			}
			wg.Wait()
			time.Sleep(500 * time.Millisecond)
			return nil
		})
		if err := g.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if s, _ := g.Stats().Stage("wait"); s.Waited != 10*time.Second || s.Busy != 500*time.Millisecond || s.Max != s.Busy {
			t.Errorf("waited %v, busy %v, longest call %v", s.Waited, s.Busy, s.Max)
		}
	})
}

// After Stop what one input of a zip has more than the other is dropped, and no answer to it comes from behind the zip: the wait for
// one ends, as the stage that would send it has ended.
func TestFeedbackStopZip(t *testing.T) {
	for _, handled := range []bool{true, false} {
		for _, swap := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) { stopBeforeAnswer(t, handled, swap) })
		}
	}
}

func stopBeforeAnswer(t *testing.T, handled, swap bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	g := contraflow.New("stop")
	back := contraflow.Loop[int](g, "weights", 2).Between("update", "encode")
	sent, answers, unanswered := 0, 0, 0
	settle := func(ctx context.Context) error {
		v, err := back.Recv(ctx)
		switch {
		case errors.Is(err, contraflow.ErrEnded) && handled:
			unanswered++
			return nil
		case err == nil && v != answers:
			return fmt.Errorf("answer %d came as %d", v, answers)
		}
		answers++
		return err
	}
	encoded := contraflow.Step(contraflow.Source(g, "fast", count(1<<30)), "encode", func(ctx context.Context, i int) (int, error) {
		if sent++; sent <= 2 {
			return i, nil
		}
		return i, settle(ctx)
	}, contraflow.Finish(func(ctx context.Context) error { return errors.Join(settle(ctx), settle(ctx)) }))
	slow := contraflow.Source(g, "slow", func(yield func(int, error) bool) {
		for i := 0; yield(i, nil); i++ {
			time.Sleep(time.Second)
		}
	})
	if swap {
		encoded, slow = slow, encoded
	}
	join := contraflow.Zip2("zip", encoded, slow)
	pairs := 0
	contraflow.Each(join, "update", func(ctx context.Context, p contraflow.Pair[int, int]) error {
		if pairs++; pairs == 5 {
			g.Stop()
		}
		return back.Send(ctx, p.A)
	})
	err := g.Run(ctx)
	switch {
	case handled && (err != nil || answers != pairs || sent != pairs+unanswered || unanswered == 0):
		t.Errorf("%v: of %d sent %d were paired, %d answered, %d not", err, sent, pairs, answers, unanswered)
	case !handled && (!errors.Is(err, contraflow.ErrEnded) || err.Error() != `stage "encode": loop "weights" from "update": the stage that sends has ended`):
		t.Errorf("got %v", err)
	}
}

// Who sends more than the other end of a loop has taken when it ends is not kept waiting.
func TestFeedbackUntaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		g := contraflow.New("untaken")
		back := contraflow.Loop[int](g, "weights", 1).Between("update", "encode")
		encoded := contraflow.Step(contraflow.Source(g, "numbers", count(3)), "encode", double)
		n := 0
		contraflow.Each(encoded, "update", func(ctx context.Context, i int) error { n++; return back.Send(ctx, i) })
		if err := g.Run(ctx); err != nil || n != 3 {
			t.Errorf("%d of 3 items: %v", n, err)
		}
	})
}
