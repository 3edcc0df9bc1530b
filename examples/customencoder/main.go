// Command customencoder shows an encoder of one's own: Conv4, the four-block network of few-shot learning, trained by instance
// discrimination and judged from its checkpoint, which knows it by name. It draws a small data set first.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/synth"
	"github.com/contraflow/contraflow/ops"
)

// Conv4 is four blocks of a 3×3 convolution, batch norm, ReLU and 2×2 pooling, 64 channels each.
// Source: Vinyals et al., arXiv:1606.04080.
type Conv4 struct{ Out int }

// Tower implements encoders.Net. Marks: layer1–4 are the blocks, layer5 the pooled features, layer6 the embedding.
func (c Conv4) Tower(channels, size int) *ops.Graph {
	g := ops.NewGraph(ops.Shape{C: channels, H: size, W: size})
	x := g.Input()
	for i := 1; i <= 4; i++ {
		name := fmt.Sprintf("block%d", i)
		x = g.Conv(x, name+".conv", ops.ConvOptions{Out: 64, Kernel: 3, Pad: 1})
		x = g.MaxPool(g.ReLU(g.BatchNorm(x, name+".bn")), 2, 2, 0)
		g.Mark(fmt.Sprintf("layer%d", i), x)
	}
	x = g.Flatten(g.AdaptiveAvgPool(x, 1))
	g.Mark("layer5", x)
	g.Mark("layer6", g.L2Norm(g.Linear(x, "fc", c.Out, true)))
	return g
}

// Layers implements encoders.Net.
func (Conv4) Layers() int { return 6 }

// Check implements encoders.Net.
func (c Conv4) Check() error {
	if c.Out < 1 {
		return fmt.Errorf("conv4: an embedding of %d: must be positive", c.Out)
	}
	return nil
}

func main() {
	steps := flag.Int("steps", 1000, "optimiser steps")
	flag.Parse()
	encoders.Register("conv4", func(out int) encoders.Model { return encoders.Model{Net: Conv4{Out: out}} })
	if err := run(context.Background(), *steps); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, steps int) error {
	dir, err := os.MkdirTemp("", "customencoder")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	data := filepath.Join(dir, "data")
	if err := synth.Write(ctx, data, synth.Options{Classes: 5, PerClass: 40, ValPerClass: 20, Size: 48, Seed: 1}); err != nil {
		return err
	}

	o := flows.Defaults("insdis")
	o.Data.Aug, o.Data.Folder, o.Data.ImageSize, o.Data.CropLow, o.Data.Dataset = "CJ", data, 48, 0.3, "imagenet100"
	o.Net.Model, o.Loss.Softmax, o.Loss.K, o.Loss.T = "conv4", true, 128, 0.1
	o.Optim.BatchSize, o.Optim.Epochs, o.Optim.Cosine, o.Run.MaxSteps = 40, (steps+4)/5, true, steps
	o.Run.ModelPath = filepath.Join(dir, "runs")
	r, err := flows.Prepare(o)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := r.Train(ctx); err != nil {
		return err
	}
	scores, err := flows.ScoreKNN(ctx, r.Dir, data, flows.DefaultKNN, flows.Open{Threads: 1})
	if err != nil {
		return err
	}
	fmt.Printf("kNN of the checkpoint: %.3f, untrained %.3f, after %d steps\n", scores.KNN, scores.Untrained, steps)
	return nil
}
