package contraflow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reugn/go-streams"
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

// What a foreign source gives must have the type of its stream, which an interface may be.
func TestForeignType(t *testing.T) {
	for _, c := range []struct {
		element any
		run     func(g *contraflow.Graph, o streams.Outlet) error
		want    string
	}{
		{1, elements[int], ""},
		{"text", elements[int], `stage "channel": got string from stage "channel", want int`},
		{nil, elements[int], `stage "channel": got <nil> from stage "channel", want int`},
		{errors.New("one"), elements[error], ""},
		{nil, elements[error], ""},
		{1, elements[error], `stage "channel": got int from stage "channel", want error`},
	} {
		in := make(chan any, 1)
		in <- c.element
		close(in)
		if err := c.run(contraflow.New("type"), ext.NewChanSource(in)); fmt.Sprint(err) != c.want && (err != nil || c.want != "") {
			t.Errorf("%v: got %v, want %s", c.element, err, c.want)
		}
	}
}

func elements[T any](g *contraflow.Graph, o streams.Outlet) error {
	contraflow.Each(contraflow.From[T](g, "channel", o), "sink", func(context.Context, T) error { return nil })
	return g.Run(context.Background())
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

// A graph that is refused leaves nobody blocked who feeds it or reads from it.
func TestForeignRefused(t *testing.T) {
	g := contraflow.New("refused")
	in, out := make(chan any), make(chan any)
	p := contraflow.From[int](g, "in", ext.NewChanSource(in))
	a, b := contraflow.Fork2(p, "in", func(i int) (int, int) { return i, i }) // the name is taken
	contraflow.To(a, "to", ext.NewChanSink(out))
	source := contraflow.Outlet(b, "outlet")
	for range 2 {
		if err := g.Run(context.Background()); err == nil {
			t.Fatal("two stages have one name")
		}
	}
	in <- 1
	close(in)
	for range out {
		t.Error("an item came out")
	}
	for range source.Out() {
		t.Error("an item came out")
	}
}

// A foreign stage that was used twice, or that has no channel, does not hide what is wrong with a graph.
func TestForeignTwice(t *testing.T) {
	g := contraflow.New("twice")
	numbers := func(name string) contraflow.Port[int] { return contraflow.Source(g, name, count(1)) }
	sink := ext.NewChanSink(make(chan any))
	contraflow.To(numbers("a"), "sink", sink)
	contraflow.To(numbers("b"), "sink", sink)
	contraflow.To(numbers("c"), "none", ext.NewChanSink(nil))
	if err := g.Run(context.Background()); err == nil || !strings.Contains(err.Error(), `stage "sink" exists already`) {
		t.Errorf("got %v", err)
	}
}

// few is a flow that ends after n items.
type few struct{ in, out chan any }

func newFew(n int) *few {
	f := &few{make(chan any), make(chan any)}
	go func() {
		defer close(f.out)
		for range n {
			v, ok := <-f.in
			if !ok {
				return
			}
			f.out <- v
		}
	}()
	return f
}

func (f *few) In() chan<- any                { return f.in }
func (f *few) Out() <-chan any               { return f.out }
func (f *few) Via(streams.Flow) streams.Flow { panic("not connected by go-streams") }
func (f *few) To(streams.Sink)               { panic("not connected by go-streams") }

// What comes after a flow has closed its output is dropped, and the stream behind it is complete.
func TestForeignEndsEarly(t *testing.T) {
	g := contraflow.New("few")
	n, complete := 0, false
	p := contraflow.Through[int, int](contraflow.Source(g, "numbers", count(1000)), "few", newFew(3))
	contraflow.Each(p, "sink", func(context.Context, int) error { n++; return nil }, contraflow.Finish(func(context.Context) error { complete = true; return nil }))
	if err := g.Run(context.Background()); err != nil || n != 3 || !complete {
		t.Fatalf("%d items, complete %v: %v", n, complete, err)
	}
	if s, _ := g.Stats().Stage("few"); s.Items != 3 {
		t.Errorf("%d items are counted", s.Items)
	}
}

// lingering is a sink that completes when it is told.
type lingering struct {
	in   chan any
	tell chan struct{}
}

func (l lingering) In() chan<- any   { return l.in }
func (l lingering) AwaitCompletion() { <-l.tell }

// Cancelling ends the wait for a foreign sink, too.
func TestForeignSinkLingers(t *testing.T) {
	l := lingering{make(chan any, 1), make(chan struct{})}
	defer close(l.tell)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	g := contraflow.New("lingers")
	contraflow.To(contraflow.Source(g, "numbers", count(1)), "sink", l)
	if err := g.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
