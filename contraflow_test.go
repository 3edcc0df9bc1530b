package contraflow_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/contraflow/contraflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func count(n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
	}
}

func double(_ context.Context, i int) (int, error) { return 2 * i, nil }

// The order of the input is kept whatever the number of workers, and every item arrives.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, workers, depth := rapid.IntRange(0, 200).Draw(t, "n"), rapid.IntRange(1, 9).Draw(t, "workers"), rapid.IntRange(1, 5).Draw(t, "depth")
		g := contraflow.New("order")
		slow := contraflow.Step(contraflow.Source(g, "numbers", count(n)), "slow", func(_ context.Context, i int) (string, error) {
			if i%7 == 0 {
				time.Sleep(time.Duration(rand.IntN(50)) * time.Microsecond)
			}
			return fmt.Sprint(i), nil
		}, contraflow.Workers(workers), contraflow.Depth(depth))
		next := 0
		contraflow.Each(slow, "check", func(_ context.Context, s string) error {
			if s != fmt.Sprint(next) {
				return fmt.Errorf("got %s, want %d", s, next)
			}
			next++
			return nil
		})
		if err := g.Run(context.Background()); err != nil || next != n {
			t.Fatalf("%d of %d items: %v", next, n, err)
		}
	})
}

func TestForkZip(t *testing.T) {
	g := contraflow.New("fork")
	a, b := contraflow.Fork2(contraflow.Source(g, "numbers", count(100)), "split", func(i int) (int, string) { return i, fmt.Sprint(i) })
	pairs := contraflow.Zip2("join", contraflow.Step(a, "double", double, contraflow.Workers(3)), b)
	n := 0
	contraflow.Each(pairs, "sink", func(_ context.Context, p contraflow.Pair[int, string]) error {
		if p.A != 2*n || p.B != fmt.Sprint(n) {
			return fmt.Errorf("pair %d is %v", n, p)
		}
		n++
		return nil
	})
	if err := g.Run(context.Background()); err != nil || n != 100 {
		t.Fatal(n, err)
	}
}

func TestUnevenZip(t *testing.T) {
	for _, lengths := range [][2]int{{3, 5}, {5, 3}} {
		g := contraflow.New("uneven")
		pairs := contraflow.Zip2("join", contraflow.Source(g, "a", count(lengths[0])), contraflow.Source(g, "b", count(lengths[1])))
		contraflow.Each(pairs, "sink", func(context.Context, contraflow.Pair[int, int]) error { return nil })
		if err := g.Run(context.Background()); !errors.Is(err, contraflow.ErrUneven) || !strings.Contains(err.Error(), "after 3 pairs") {
			t.Errorf("lengths %v: got %v", lengths, err)
		}
	}
}

func TestZeroPort(t *testing.T) {
	var p contraflow.Port[int]
	contraflow.Each(p, "sink", func(context.Context, int) error { return nil }) // must not panic
}

func TestRunsOnce(t *testing.T) {
	g := contraflow.New("once")
	contraflow.Each(contraflow.Source(g, "a", count(1)), "b", func(context.Context, int) error { return nil })
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := g.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "runs once") {
		t.Fatalf("got %v", err)
	}
	if g.Name() != "once" {
		t.Error(g.Name())
	}
}

func Example() {
	g := contraflow.New("squares")
	numbers := contraflow.Source(g, "numbers", count(4))
	squares := contraflow.Step(numbers, "square", func(_ context.Context, i int) (int, error) { return i * i, nil }, contraflow.Workers(2))
	contraflow.Each(squares, "print", func(_ context.Context, i int) error {
		fmt.Println(i)
		return nil
	})
	if err := g.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 0
	// 1
	// 4
	// 9
}

func BenchmarkGraph(b *testing.B) {
	for _, stages := range []int{1, 5} {
		for _, workers := range []int{1, 8} {
			b.Run(fmt.Sprintf("stages=%d/workers=%d", stages, workers), func(b *testing.B) {
				type item [8]int
				v := &item{}
				g := contraflow.New("bench")
				p := contraflow.Source(g, "source", func(yield func(*item, error) bool) {
					for range b.N {
						if !yield(v, nil) {
							return
						}
					}
				})
				for i := range stages {
					p = contraflow.Step(p, fmt.Sprint("stage", i), func(_ context.Context, x *item) (*item, error) { return x, nil }, contraflow.Workers(workers), contraflow.Depth(4))
				}
				contraflow.Each(p, "sink", func(context.Context, *item) error { return nil })
				b.ReportAllocs()
				if err := g.Run(context.Background()); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
