package contraflow_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/reugn/go-streams"
	"github.com/reugn/go-streams/flow"

	"github.com/contraflow/contraflow"
)

// Mistakes in the wiring are found before anything runs and begin with the user's file and line.
func TestMistakes(t *testing.T) {
	sink := func(context.Context, int) error { return nil }
	// A go-streams flow starts its goroutines when it is made. The refused graph ends them.
	identity := func() streams.Flow { return flow.NewMap(func(i int) int { return i }, 1) }
	for name, c := range map[string]struct {
		build func(g *contraflow.Graph)
		want  string
	}{
		"empty":       {func(*contraflow.Graph) {}, "empty"},
		"unconnected": {func(g *contraflow.Graph) { contraflow.Source(g, "a", count(1)) }, `nothing reads stage "a"`},
		"twice": {func(g *contraflow.Graph) {
			p := contraflow.Source(g, "a", count(1))
			contraflow.Each(p, "b", sink)
			contraflow.Each(p, "c", sink)
		}, "use Fork2"},
		"same name": {func(g *contraflow.Graph) {
			contraflow.Each(contraflow.Step(contraflow.Source(g, "a", count(1)), "a", double), "b", sink)
		}, `stage "a" exists already`},
		"no name":    {func(g *contraflow.Graph) { contraflow.Each(contraflow.Source(g, "", count(1)), "b", sink) }, "needs a name"},
		"nil source": {func(g *contraflow.Graph) { contraflow.Each(contraflow.Source[int](g, "a", nil), "b", sink) }, "no sequence"},
		"nil step": {func(g *contraflow.Graph) {
			contraflow.Each(contraflow.Step[int, int](contraflow.Source(g, "a", count(1)), "s", nil), "b", sink)
		}, "no function"},
		"nil each": {func(g *contraflow.Graph) { contraflow.Each(contraflow.Source(g, "a", count(1)), "b", nil) }, "no function"},
		"nil fork": {func(g *contraflow.Graph) {
			a, b := contraflow.Fork2[int, int, int](contraflow.Source(g, "a", count(1)), "f", nil)
			contraflow.Each(contraflow.Zip2("z", a, b), "e", func(context.Context, contraflow.Pair[int, int]) error { return nil })
		}, `fork "f" has no function`},
		"zero worker": {func(g *contraflow.Graph) {
			contraflow.Each(contraflow.Step(contraflow.Source(g, "a", count(1)), "s", double, contraflow.Workers(0)), "b", sink)
		}, "at least 1"},
		"loop": {func(g *contraflow.Graph) {
			contraflow.Loop[int](g, "l", 0)
			contraflow.Each(contraflow.Source(g, "a", count(1)), "b", sink)
		}, "staleness 0"},
		"two graphs": {func(g *contraflow.Graph) {
			other := contraflow.New("other")
			contraflow.Each(contraflow.Zip2("z", contraflow.Source(g, "a", count(1)), contraflow.Source(other, "b", count(1))), "e", func(context.Context, contraflow.Pair[int, int]) error { return nil })
		}, "two graphs"},
		"deadlock": {func(g *contraflow.Graph) {
			a, b := contraflow.Fork2(contraflow.Source(g, "a", count(9)), "fork", func(i int) (int, int) { return i, i })
			long := contraflow.Through[int, int](a, "batch", identity(), contraflow.Holds(8))
			contraflow.Each(contraflow.Zip2("zip", long, b), "e", func(context.Context, contraflow.Pair[int, int]) error { return nil })
		}, "would deadlock: one leg to zip \"zip\" keeps 8 items, the other (leg 2) has room for"},
		"deadlock of the second leg": {func(g *contraflow.Graph) {
			a, b := contraflow.Fork2(contraflow.Source(g, "a", count(9)), "fork", func(i int) (int, int) { return i, i })
			long := contraflow.Through[int, int](b, "batch", identity(), contraflow.Holds(8))
			contraflow.Each(contraflow.Zip2("zip", a, long), "e", func(context.Context, contraflow.Pair[int, int]) error { return nil })
		}, "keeps 8 items, the other (leg 1) has room for"},
		"zero port first": {func(g *contraflow.Graph) {
			var none contraflow.Port[int]
			contraflow.Each(contraflow.Zip2("z", none, contraflow.Source(g, "a", count(1))), "e", func(context.Context, contraflow.Pair[int, int]) error { return nil })
		}, "build both in one"},
		"other graph first": {func(g *contraflow.Graph) {
			other := contraflow.New("other")
			contraflow.Zip2("z", contraflow.Source(other, "b", count(1)), contraflow.Source(g, "a", count(1)))
		}, "build both in one"},
		"chained leg": {func(g *contraflow.Graph) {
			a, b := contraflow.Fork2(contraflow.Source(g, "a", count(9)), "fork", func(i int) (int, int) { return i, i }, contraflow.Depth(1))
			long := contraflow.Through[int, int](a, "batch", identity(), contraflow.Holds(4))
			short := contraflow.Step(b, "step", double, contraflow.Chained(), contraflow.Depth(2))
			contraflow.Each(contraflow.Zip2("zip", long, short), "e", func(context.Context, contraflow.Pair[int, int]) error { return nil })
		}, "has room for 2"},
		"too few workers": {func(g *contraflow.Graph) {
			contraflow.Each(contraflow.Step(contraflow.Source(g, "a", count(1)), "s", double, contraflow.Workers(4), contraflow.MaxWorkers(2)), "b", sink)
		}, "MaxWorkers(2) is less than its 4 workers"},
		"unknown hold": {func(g *contraflow.Graph) {
			a, b := contraflow.Fork2(contraflow.Source(g, "a", count(9)), "fork", func(i int) (int, int) { return i, i })
			long := contraflow.Through[int, int](a, "foreign", identity())
			contraflow.Each(contraflow.Zip2("zip", b, long), "e", func(context.Context, contraflow.Pair[int, int]) error { return nil })
		}, "say with Holds"},
		"batch in a loop": {func(g *contraflow.Graph) {
			contraflow.Loop[int](g, "back", 3).Between("update", "encode")
			p := contraflow.Step(contraflow.Source(g, "a", count(9)), "encode", double)
			p = contraflow.Through[int, int](contraflow.Through[int, int](p, "one", identity(), contraflow.Holds(1)), "two", identity(), contraflow.Holds(2))
			contraflow.Each(contraflow.Through[int, int](p, "three", identity(), contraflow.Holds(3)), "update", sink)
		}, `loop "back" would deadlock: the flows between "encode" and "update" take 4 items before they give one, and its staleness is 3: raise it`},
		"unknown hold in a loop": {func(g *contraflow.Graph) {
			contraflow.Loop[int](g, "back", 3).Between("update", "encode")
			p := contraflow.Step(contraflow.Source(g, "a", count(9)), "encode", double)
			contraflow.Each(contraflow.Through[int, int](p, "foreign", identity()), "update", sink)
		}, `stage "foreign" is between the ends of loop "back": say with Holds`},
	} {
		g := contraflow.New("mistake")
		c.build(g)
		err := g.Run(context.Background())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		} else if name != "empty" && !strings.HasPrefix(err.Error(), "check_test.go:") {
			t.Errorf("%s: %q does not begin with the user's line", name, err)
		}
	}
}

// The same diamond runs when the short leg has the room.
func TestDeepDiamond(t *testing.T) {
	g := contraflow.New("deep")
	a, b := contraflow.Fork2(contraflow.Source(g, "a", count(90)), "fork", func(i int) (int, int) { return i, i }, contraflow.Depth(8))
	long := contraflow.Through[int, int](a, "foreign", flow.NewMap(func(i int) int { return i + 1 }, 1), contraflow.Holds(2))
	n := 0
	contraflow.Each(contraflow.Zip2("zip", long, b), "e", func(_ context.Context, p contraflow.Pair[int, int]) error {
		if n++; p.A != p.B+1 {
			return fmt.Errorf("pair %v", p)
		}
		return nil
	})
	if err := g.Run(context.Background()); err != nil || n != 90 {
		t.Fatal(n, err)
	}
}

// Checking takes no longer for diamonds one behind the other, although the ways through them double with every one.
func TestManyDiamonds(t *testing.T) {
	g := contraflow.New("diamonds")
	p := contraflow.Source(g, "numbers", count(3))
	back := contraflow.Loop[int](g, "back", 1).Between("sink", "fork 0")
	const diamonds = 64
	for i := range diamonds {
		a, b := contraflow.Fork2(p, fmt.Sprint("fork ", i), func(i int) (int, int) { return i, i })
		p = contraflow.Step(contraflow.Zip2(fmt.Sprint("zip ", i), a, contraflow.Step(b, fmt.Sprint("leg ", i), double)), fmt.Sprint("step ", i), func(_ context.Context, p contraflow.Pair[int, int]) (int, error) {
			return p.B - p.A, nil
		})
	}
	sum := 0
	contraflow.Each(p, "sink", func(ctx context.Context, i int) error {
		sum += i
		if i > 0 {
			return nil
		}
		return back.Send(ctx, i)
	})
	if err := g.Run(context.Background()); err != nil || sum != 3 {
		t.Error(sum, err)
	}
}
