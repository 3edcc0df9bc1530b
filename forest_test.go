package contraflow_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	ext "github.com/reugn/go-streams/extension"
	"github.com/reugn/go-streams/flow"

	"github.com/contraflow/contraflow"
)

// Forks within forks, with foreign flows in their legs and foreign sources before them, ended from outside at any moment or by a stage:
// none hangs, no pair is torn, and only a complete stream ends without an error.
func TestForests(t *testing.T) {
	for seed := range uint64(150) {
		forest(t, seed)
	}
}

func forest(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	g := contraflow.New("forest")
	items, at, end := r.IntN(60), r.IntN(60), []string{"itself", "error", "panic", "cancel", "stop"}[r.IntN(5)]
	acts := map[string]func() error{
		"itself": func() error { return nil },
		"error":  func() error { return errRandom },
		"panic":  func() error { panic(errRandom) },
		"cancel": func() error { cancel(errRandom); return nil },
		"stop":   func() error { g.Stop(); return nil },
	}
	stages := 0
	name := func(kind string) string { stages++; return fmt.Sprint(kind, " ", stages) }
	identity := func(i int) int { return i }
	step := func(p contraflow.Port[int]) contraflow.Port[int] {
		ends, slow := r.IntN(3) == 0, r.IntN(3) == 0
		p = contraflow.Step(p, name("step"), func(_ context.Context, i int) (int, error) {
			if slow && i%9 == 0 {
				time.Sleep(30 * time.Microsecond)
			}
			if ends && i == at {
				return i, acts[end]()
			}
			return i, nil
		}, contraflow.Workers(1+r.IntN(3)), contraflow.Depth(1+r.IntN(2)))
		if r.IntN(3) == 0 {
			p = contraflow.Through[int, int](p, name("through"), flow.NewMap(identity, 1), contraflow.Holds(1))
		}
		return p
	}
	var tree func(p contraflow.Port[int], height int) contraflow.Port[int]
	tree = func(p contraflow.Port[int], height int) contraflow.Port[int] {
		if height == 0 {
			return step(p)
		}
		a, b := contraflow.Fork2(p, name("fork"), func(i int) (int, int) { return i, i }, contraflow.Depth(1))
		pairs := contraflow.Zip2(name("zip"), tree(a, height-1), tree(b, height-1), contraflow.Depth(1))
		return contraflow.Step(pairs, name("pair"), func(_ context.Context, p contraflow.Pair[int, int]) (int, error) {
			if p.A != p.B {
				return 0, fmt.Errorf("pair %v", p)
			}
			return p.A, nil
		})
	}
	in := make(chan any)
	go func() {
		defer close(in)
		for i := range items {
			in <- i
		}
	}()
	next, complete := 0, false
	contraflow.Each(tree(contraflow.From[int](g, "source", ext.NewChanSource(in)), r.IntN(4)), "sink", func(_ context.Context, i int) error {
		if next++; i != next-1 {
			return fmt.Errorf("item %d came as %d", i, next-1)
		}
		return nil
	}, contraflow.Finish(func(context.Context) error { complete = true; return nil }))
	outside := r.IntN(2) == 0 && (end == "cancel" || end == "stop")
	if outside {
		timer := time.AfterFunc(time.Duration(r.IntN(2000))*time.Microsecond, func() { acts[end]() })
		defer timer.Stop()
	}
	hangs := time.AfterFunc(20*time.Second, func() { panic(fmt.Sprintf("seed %d hangs:\n%v", seed, g)) })
	defer hangs.Stop()
	err := g.Run(ctx)
	switch {
	case err == nil && (!complete || end != "stop" && next != items):
		t.Errorf("seed %d, %s: %d of %d items and no error, complete %v", seed, end, next, items, complete)
	case err != nil && (!errors.Is(err, errRandom) || strings.Contains(err.Error(), "\n")):
		t.Errorf("seed %d, %s: %q", seed, end, err)
	case err != nil && complete && end != "cancel":
		t.Errorf("seed %d, %s: complete, and %v", seed, end, err)
	}
}
