// Command gostreams joins go-streams and contraflow: a go-streams source and flow inside a graph of ours, whose end feeds a
// go-streams pipeline.
package main

import (
	"context"
	"fmt"
	"log"

	ext "github.com/reugn/go-streams/extension"
	"github.com/reugn/go-streams/flow"

	"github.com/contraflow/contraflow"
)

func main() {
	in, out := make(chan any), make(chan any)
	go func() {
		defer close(in)
		for i := range 4 {
			in <- i
		}
	}()
	g := contraflow.New("go-streams")
	numbers := contraflow.From[int](g, "numbers", ext.NewChanSource(in))
	squares := contraflow.Step(numbers, "square", func(_ context.Context, i int) (int, error) { return i * i, nil }, contraflow.Workers(2))
	texts := contraflow.Through[int, string](squares, "text", flow.NewMap(func(i int) string { return fmt.Sprint("square ", i) }, 1))
	go contraflow.Outlet(texts, "out").Via(flow.NewMap(func(s string) string { return s + "!" }, 1)).To(ext.NewChanSink(out))
	failed := make(chan error, 1)
	go func() { failed <- g.Run(context.Background()) }()
	for v := range out {
		fmt.Println(v)
	}
	if err := <-failed; err != nil {
		log.Fatal(err)
	}
}
