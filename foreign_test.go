package contraflow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	ext "github.com/reugn/go-streams/extension"
	"github.com/reugn/go-streams/flow"

	"github.com/contraflow/contraflow"
)

// go-streams operators inside our graph, at its start and at its end.
func TestForeignInside(t *testing.T) {
	in, out := make(chan any), make(chan any)
	go func() {
		for i := range 100 {
			in <- i
		}
		close(in)
	}()
	g := contraflow.New("foreign")
	p := contraflow.From[int](g, "channel", ext.NewChanSource(in))
	q := contraflow.Through[int, string](p, "text", flow.NewMap(func(i int) string { return fmt.Sprint(i) }, 1))
	contraflow.To(q, "out", ext.NewChanSink(out))
	n := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for v := range out {
			if v != fmt.Sprint(n) {
				t.Errorf("item %d is %v", n, v)
			}
			n++
		}
	}()
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	<-done
	if n != 100 {
		t.Fatalf("%d items", n)
	}
}

func TestForeignType(t *testing.T) {
	in := make(chan any)
	go func() { in <- "text"; close(in) }()
	g := contraflow.New("type")
	contraflow.Each(contraflow.From[int](g, "channel", ext.NewChanSource(in)), "sink", func(context.Context, int) error { return nil })
	if err := g.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "got string") || !strings.Contains(err.Error(), "want int") {
		t.Fatalf("got %v", err)
	}
}

// After a failure downstream a foreign source is drained, so that it can end.
func TestForeignDrained(t *testing.T) {
	in := make(chan any)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range 1000 {
			in <- i
		}
		close(in)
	}()
	g := contraflow.New("drain")
	p := contraflow.Through[int, int](contraflow.From[int](g, "channel", ext.NewChanSource(in)), "map", flow.NewMap(func(i int) int { return i }, 1))
	contraflow.Each(p, "sink", func(_ context.Context, i int) error {
		if i == 3 {
			return errors.New("enough")
		}
		return nil
	})
	if err := g.Run(context.Background()); err == nil {
		t.Fatal("no error")
	}
	<-ended
}

// Our stage as a flow of a plain go-streams pipeline.
func TestAsFlow(t *testing.T) {
	in, out := make(chan any), make(chan any)
	go func() {
		for i := range 100 {
			in <- i
		}
		close(in)
	}()
	ours := contraflow.NewFlow("square", func(_ context.Context, i int) (int, error) { return i * i, nil }, contraflow.Workers(4))
	go ext.NewChanSource(in).Via(ours).Via(flow.NewMap(func(i int) int { return i + 1 }, 1)).To(ext.NewChanSink(out))
	n := 0
	for v := range out {
		if v.(int) != n*n+1 {
			t.Fatalf("item %d is %v", n, v)
		}
		n++
	}
	if err := ours.Err(); err != nil || n != 100 {
		t.Fatal(n, err)
	}
}

func TestAsFlowFails(t *testing.T) {
	in, out := make(chan any), make(chan any)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range 100 {
			in <- i
		}
		close(in)
	}()
	ours := contraflow.NewFlow("fail", func(_ context.Context, i int) (int, error) {
		if i == 5 {
			return 0, errors.New("five")
		}
		return i, nil
	})
	go func() {
		for range out {
		}
	}()
	ext.NewChanSource(in).Via(ours).To(ext.NewChanSink(out))
	<-ended
	if err := ours.Err(); err == nil || !strings.Contains(err.Error(), "five") {
		t.Fatalf("got %v", err)
	}
}
