// Command customviews shows a view of one's own: beside lightness and colour, contrastive multiview coding sees the edges of
// every picture, computed by a function. It draws a small data set, trains three towers for a few steps, and scores them.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/synth"
	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

// Edges is the size of the gradient of a picture's green channel, from -1, flat, to 1. It sees the crop that the other views are
// made of, already cut, scaled and mirrored, and may be called by several goroutines.
var Edges = stages.ViewFunc{Name: "edges", Channels: 1, Render: func(dst []float32, p *pixel.Picture) {
	at := func(x, y int) float64 {
		return float64(p.Pix[3*(min(max(y, 0), p.H-1)*p.W+min(max(x, 0), p.W-1))+1]) / 255
	}
	for i := range dst {
		x, y := i%p.W, i/p.W
		size := math.Hypot(at(x+1, y)-at(x-1, y), at(x, y+1)-at(x, y-1))
		dst[i] = float32(2*min(size, 1) - 1)
	}
}}

func main() {
	steps := flag.Int("steps", 200, "optimiser steps")
	flag.Parse()
	if err := run(context.Background(), *steps); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, steps int) error {
	dir, err := os.MkdirTemp("", "customviews")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	data := filepath.Join(dir, "data")
	if err := synth.Write(ctx, data, synth.Options{Classes: 5, PerClass: 40, ValPerClass: 20, Size: 48, Seed: 1}); err != nil {
		return err
	}

	o := flows.Defaults("cmc")
	o.Data.Folder, o.Data.ImageSize, o.Data.CropLow, o.Data.Dataset = data, 32, 0.5, "imagenet100"
	o.Data.ViewFuncs = []stages.ViewFunc{Edges} // after the two colour views
	o.Net.Model, o.Loss.Softmax, o.Loss.K, o.Loss.Graph = "resnet18v1", true, 128, "full"
	o.Optim.BatchSize, o.Optim.Epochs, o.Optim.Cosine, o.Run.MaxSteps = 40, (steps+4)/5, true, steps
	o.Run.ModelPath, o.Run.SaveFreq = filepath.Join(dir, "runs"), 0
	r, err := flows.Prepare(o)
	if err != nil {
		return err
	}
	defer r.Close()
	m, err := flows.NewMonitor(r, 1000, ctx)
	if err != nil {
		return err
	}
	before, err := m.KNN(ctx)
	if err != nil {
		return err
	}
	var last *flows.StepReport
	r.Observe = func(s *flows.StepReport) { last = s }
	if err := r.Train(ctx); err != nil {
		return err
	}
	after, err := m.KNN(ctx)
	if err != nil {
		return err
	}
	for _, v := range last.Values {
		fmt.Printf("%s %.3f\n", v.Name, v.V)
	}
	fmt.Printf("kNN of the three towers: %.3f before, %.3f after %d steps\n", before, after, steps)
	return nil
}
