// Package stagetest checks that a stage, ours or a user's, keeps the contract of a stage function.
package stagetest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/contraflow/contraflow"
)

// Patience is how long a cancelled stage may take to return.
const Patience = 5 * time.Second

// head is how long a stage has to get to where it waits.
const head = 10 * time.Millisecond

// Run feeds inputs to fn through a graph and returns the outputs. It fails the test when fn returns an error, when one or
// several workers give different outputs (pass parallel false for a stage that only one goroutine may call), or when fn
// changes its inputs. Inputs are made anew for every pass.
func Run[I, O any](t testing.TB, fn func(context.Context, I) (O, error), inputs func() []I, parallel bool) []O {
	t.Helper()
	want := pass(t, fn, inputs, 1)
	if !parallel {
		return want
	}
	if got := pass(t, fn, inputs, 4); !reflect.DeepEqual(got, want) {
		t.Errorf("four workers give other outputs than one:\n%v\n%v", got, want)
	}
	return want
}

func pass[I, O any](t testing.TB, fn func(context.Context, I) (O, error), inputs func() []I, workers int) []O {
	t.Helper()
	before, given := inputs(), inputs()
	g := contraflow.New("stagetest")
	src := contraflow.Source(g, "inputs", func(yield func(I, error) bool) {
		for _, i := range given {
			if !yield(i, nil) {
				return
			}
		}
	})
	var out []O
	contraflow.Each(contraflow.Step(src, "stage", fn, contraflow.Workers(workers)), "outputs", func(_ context.Context, o O) error {
		out = append(out, o)
		return nil
	})
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(out) != len(given) {
		t.Fatalf("%d outputs for %d inputs", len(out), len(given))
	}
	if !reflect.DeepEqual(before, given) {
		t.Errorf("the stage changed its inputs:\n%v\n%v", given, before)
	}
	return out
}

// Cancel checks that fn returns within Patience of its context's end, which comes while it waits. block must make fn wait for
// something, such as an empty feedback edge.
func Cancel[I, O any](t testing.TB, fn func(context.Context, I) (O, error), block I) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	begun, done := make(chan struct{}), make(chan error, 1)
	go func() {
		close(begun)
		_, err := fn(ctx, block)
		done <- err
	}()
	<-begun
	select {
	case err := <-done:
		t.Errorf("the stage did not wait: it returned the error %v", err)
		return
	case <-time.After(head):
	}
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Error("a cancelled stage returned a result: it must return the error it waited with")
		}
	case <-time.After(Patience):
		t.Errorf("the stage goes on %v after its context ended", Patience)
	}
}

// Fails checks that fn refuses an input with an error of one line.
func Fails[I, O any](t testing.TB, fn func(context.Context, I) (O, error), bad I) error {
	t.Helper()
	_, err := fn(context.Background(), bad)
	if err == nil {
		t.Error("the stage accepted the input")
		return errors.New("accepted")
	}
	for _, r := range err.Error() {
		if r == '\n' {
			t.Errorf("the error has several lines: %q", err)
			break
		}
	}
	return err
}
