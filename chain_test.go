package contraflow_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contraflow/contraflow"
)

// goroutine is the number of the goroutine that calls it.
func goroutine() string {
	var b [64]byte
	return string(bytes.Fields(b[:runtime.Stack(b[:], false)])[1])
}

// Chained steps run on the goroutine of the stage before, with the results, the counts and the end of unchained ones.
func TestChained(t *testing.T) {
	const items = 50
	for _, chained := range []bool{false, true} {
		var opts []contraflow.StageOption
		if chained {
			opts = append(opts, contraflow.Chained())
		}
		var threads [3][]string
		var ends []string
		on := func(i int) func(context.Context, int) (int, error) {
			return func(_ context.Context, v int) (int, error) {
				threads[i] = append(threads[i], goroutine())
				return 2 * v, nil
			}
		}
		end := func(name string) contraflow.StageOption {
			return contraflow.Finish(func(context.Context) error { ends = append(ends, name); return nil })
		}
		g := contraflow.New("chain")
		p := contraflow.Step(contraflow.Source(g, "numbers", count(items)), "encode", on(0), end("encode"))
		p = contraflow.Step(p, "contrast", on(1), append(opts, end("contrast"))...)
		p = contraflow.Step(p, "update", on(2), append(opts, end("update"))...)
		var got []int
		contraflow.Each(p, "sink", func(_ context.Context, v int) error { got = append(got, v); return nil })
		if err := g.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			if v != 8*i {
				t.Fatalf("chained %v: item %d is %d", chained, i, v)
			}
		}
		if len(got) != items || fmt.Sprint(ends) != "[encode contrast update]" {
			t.Errorf("chained %v: %d items, ends %v", chained, len(got), ends)
		}
		if same := slices.Equal(threads[0], threads[1]) && slices.Equal(threads[1], threads[2]); same != chained {
			t.Errorf("chained %v: all on one goroutine: %v", chained, same)
		}
		s := g.Stats()
		for _, name := range []string{"encode", "contrast", "update"} {
			st, _ := s.Stage(name)
			if st.Items != items || st.Busy <= 0 {
				t.Errorf("chained %v: %s has %d items and was busy for %v", chained, name, st.Items, st.Busy)
			}
		}
		for _, e := range s.Edges {
			if e.Items != items || (chained && e.To == "update" && (e.Depth != 0 || e.Empty != 1)) {
				t.Errorf("chained %v: edge %+v", chained, e)
			}
		}
	}
}

// What a chained step fails with has its own name, and nothing behind it takes the stream for a complete one.
func TestChainedFailure(t *testing.T) {
	boom := errors.New("no")
	for _, how := range []string{"error", "panic", "end"} {
		g := contraflow.New("failure")
		p := contraflow.Step(contraflow.Source(g, "numbers", count(20)), "encode", double)
		p = contraflow.Step(p, "contrast", func(_ context.Context, v int) (int, error) {
			switch {
			case v < 14 || how == "end":
				return v, nil
			case how == "panic":
				panic(boom)
			}
			return 0, boom
		}, contraflow.Chained(), contraflow.Finish(func(context.Context) error { return boom }))
		complete := false
		contraflow.Each(p, "sink", func(context.Context, int) error { return nil }, contraflow.Finish(func(context.Context) error { complete = true; return nil }))
		err := g.Run(context.Background())
		var stage *contraflow.StageError
		if !errors.As(err, &stage) || stage.Stage != "contrast" || !errors.Is(err, boom) || complete {
			t.Errorf("%s: %v, complete %v", how, err, complete)
		}
	}
}

// A chained step needs one goroutine that sends to it and has one worker.
func TestChainedMistakes(t *testing.T) {
	g := contraflow.New("mistakes")
	p := contraflow.Step(contraflow.Source(g, "numbers", count(3)), "encode", double)
	p = contraflow.Step(p, "contrast", double, contraflow.Chained(), contraflow.Workers(2))
	contraflow.Each(p, "sink", func(context.Context, int) error { return nil }, contraflow.Chained())
	err := g.Check()
	for _, want := range []string{`step "contrast": Chained runs it on one goroutine`, `stage "sink": Chained means nothing to a each`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A run that is cancelled while an item is inside a chained step ends without the step's output being closed under it: make race sees
// that.
func TestChainedCancel(t *testing.T) {
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		g := contraflow.New("cancel")
		p := contraflow.Step(contraflow.Source(g, "numbers", count(20)), "encode", double)
		p = contraflow.Step(p, "contrast", func(_ context.Context, v int) (int, error) {
			if v == 10 {
				cancel()
				for begin := time.Now(); time.Since(begin) < time.Millisecond; { // sleeping would hide it from the race detector
				}
			}
			return v, nil
		}, contraflow.Chained())
		contraflow.Each(p, "sink", func(context.Context, int) error { return nil })
		if err := g.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}
