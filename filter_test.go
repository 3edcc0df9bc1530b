package contraflow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/contraflow/contraflow"
)

func everyTenth(_ context.Context, i int) (string, bool, error) { return fmt.Sprint(i), i%10 == 0, nil }

// A filter keeps order, and what comes before it does not wait for a slow stage behind it while its edge has room.
func TestFilter(t *testing.T) {
	g := contraflow.New("filter")
	all := make(chan struct{})
	tenths := contraflow.Filter(contraflow.Source(g, "numbers", count(100)), "tenths", func(ctx context.Context, i int) (string, bool, error) {
		if i == 19 { // the 0 is being worked on, the 10 waits
			close(all)
		}
		return everyTenth(ctx, i)
	}, contraflow.Depth(1))
	var got []string
	contraflow.Each(tenths, "slow", func(_ context.Context, s string) error {
		<-all
		got = append(got, s)
		return nil
	})
	if err := g.Run(context.Background()); err != nil || strings.Join(got, " ") != "0 10 20 30 40 50 60 70 80 90" {
		t.Fatalf("%v: %v", got, err)
	}
	for _, s := range g.Stats().Stages {
		if want := map[string]int64{"numbers": 100, "tenths": 100, "slow": 10}[s.Name]; s.Items != want {
			t.Errorf("%s saw %d items, want %d", s.Name, s.Items, want)
		}
	}
}

func TestFilterFails(t *testing.T) {
	boom := errors.New("no room")
	for _, panics := range []bool{false, true} {
		g := contraflow.New("filter")
		tenths := contraflow.Filter(contraflow.Source(g, "numbers", count(100)), "tenths", func(ctx context.Context, i int) (string, bool, error) {
			if i == 15 && panics {
				panic(boom)
			}
			if i == 15 {
				return "", false, boom
			}
			return everyTenth(ctx, i)
		})
		contraflow.Each(tenths, "end", func(context.Context, string) error { return nil })
		if err := g.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "tenths") || !strings.Contains(err.Error(), "no room") {
			t.Errorf("got %v", err)
		}
	}
}

func TestFilterMistakes(t *testing.T) {
	for want, build := range map[string]func(g *contraflow.Graph){
		"has no function": func(g *contraflow.Graph) {
			contraflow.Each(contraflow.Filter[int, string](contraflow.Source(g, "numbers", count(3)), "tenths", nil), "end", func(context.Context, string) error { return nil })
		},
		"Workers means nothing to a filter": func(g *contraflow.Graph) {
			p := contraflow.Filter(contraflow.Source(g, "numbers", count(3)), "tenths", everyTenth, contraflow.Workers(2))
			contraflow.Each(p, "end", func(context.Context, string) error { return nil })
		},
		"leaves items out": func(g *contraflow.Graph) {
			a, b := contraflow.Fork2(contraflow.Source(g, "numbers", count(3)), "fork", func(i int) (int, int) { return i, i })
			z := contraflow.Zip2("zip", contraflow.Filter(a, "tenths", everyTenth), b)
			contraflow.Each(z, "end", func(context.Context, contraflow.Pair[string, int]) error { return nil })
		},
	} {
		g := contraflow.New("mistakes")
		build(g)
		if err := g.Check(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "filter_test.go:") {
			t.Errorf("want %q at a line of this file, got %v", want, err)
		}
	}
}
