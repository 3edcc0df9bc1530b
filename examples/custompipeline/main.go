// Command custompipeline wires the stages of contrastive multiview coding by hand, without package flows: two encoders see lightness
// and colour of pictures that a stage of one's own solarizes, an objective of one's own scores them. It draws a small data set first.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/bank"
	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/io/imagefolder"
	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/io/synth"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cpu"
	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

// Solarize inverts the bright half of the levels of a picture with probability Prob (Grill et al., arXiv:2006.07733).
type Solarize struct {
	Prob float64
	Seed uint64
}

// purposeSolarize keeps the draws of Solarize apart from all others.
const purposeSolarize = stages.PurposeOwn

// Run changes the crops of one batch in place: they are this stage's until it returns.
func (s Solarize) Run(_ context.Context, c *stages.Crops) (*stages.Crops, error) {
	for i, index := range c.Index {
		if stages.Draw(s.Seed, c.Epoch, index, purposeSolarize).Float64() >= s.Prob {
			continue
		}
		for _, p := range c.Pictures[i*c.PerSample : (i+1)*c.PerSample] {
			for k, v := range p.Pix {
				if v >= 128 {
					p.Pix[k] = 255 - v
				}
			}
		}
	}
	return c, nil
}

// Multiview scores the embedding of each of two views against a memory of the other's (Tian et al., arXiv:1906.05849).
type Multiview struct {
	Memory  [2]*bank.Memory
	Loss    *bank.Loss
	Sampler bank.Sampler
	K       int

	index []int32
}

// Score implements stages.Objective.
func (m *Multiview) Score(s *stages.Scores) (err error) {
	var drawing *bank.Drawing
	m.index, drawing = m.Memory[0].Negatives(m.Sampler, &m.index, s.Index, m.K, s.Step)
	for v, queries := range s.Out {
		grad := make([]float32, len(queries))
		r, err := m.Memory[1-v].Begin(m.Loss, bank.Batch{Queries: queries, K: m.K, Index: m.index, Draw: drawing}, grad).Wait()
		if err != nil {
			return err
		}
		s.Loss, s.D = s.Loss+r.Loss, append(s.D, grad)
	}
	for v, x := range s.Out {
		if err := m.Memory[v].Update(s.Index, x, nil); err != nil {
			return err
		}
	}
	return nil
}

// State implements stages.Objective. Nothing asks for it: Encode.SnapshotAt is not set.
func (m *Multiview) State([]stages.BankTensor) ([]stages.BankTensor, error) { return nil, nil }

func main() {
	steps := flag.Int("steps", 200, "optimiser steps")
	flag.Parse()
	if _, err := run(context.Background(), *steps); err != nil {
		log.Fatal(err)
	}
}

// The sizes of everything.
const (
	batchSize = 20
	side      = 32 // of a crop
	dim       = 32 // of an embedding
)

func run(ctx context.Context, steps int) (losses []float64, err error) {
	dir, err := os.MkdirTemp("", "custompipeline")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := synth.Write(ctx, dir, synth.Options{Classes: 5, PerClass: 20, ValPerClass: 1, Size: 48, Seed: 1}); err != nil {
		return nil, err
	}
	data, err := imagefolder.Open(filepath.Join(dir, "train"), nil)
	if err != nil {
		return nil, err
	}
	decoder, err := jpeg.Open("auto")
	if err != nil {
		return nil, err
	}
	lab, err := pixel.LookupSpace("Lab")
	if err != nil {
		return nil, err
	}
	device, err := cpu.New(0)
	if err != nil {
		return nil, err
	}
	defer device.Close()
	objective := &Multiview{Sampler: bank.Sampler{N: data.Len(), Seed: 1}, K: 64}
	if objective.Loss, err = bank.NewLoss(true, 0.1, data.Len()); err != nil {
		return nil, err
	}
	var towers []stages.Tower
	for v, channels := range stages.DefaultSplit {
		t, err := tower(device, v, len(channels))
		if err != nil {
			return nil, err
		}
		towers = append(towers, t)
		if objective.Memory[v], err = bank.NewMemory(data.Len(), dim, 0.5, uint64(v)); err != nil {
			return nil, err
		}
	}

	g := contraflow.New("custom pipeline")
	gradients := contraflow.Loop[*stages.Gradients](g, "gradients", 1).Between("update", "encode")
	sampler := stages.Sampler{N: data.Len(), Batch: batchSize, Epochs: steps, MaxSteps: steps, Seed: 1}
	decode := &stages.Decode{Data: data, Decoder: decoder, Seed: 1, Size: side, CropLow: 0.3, Rule: stages.CropRules["torchvision-0.3"]}
	views := &stages.Views{Space: lab, Split: stages.DefaultSplit, Recycle: decode.Recycle}
	encode := &stages.Encode{Towers: towers, Passes: []stages.Pass{{Tower: 0, View: 0}, {Tower: 1, View: 1}}, Gradients: gradients}
	contrast := &stages.Contrast{Objective: objective}
	update := &stages.Update{LR: func(stages.Plan) float64 { return 0.03 }, Momentum: 0.9, Decay: 1e-4, Gradients: gradients}

	plans := contraflow.Source(g, "sampler", sampler.Plans())
	crops := contraflow.Step(plans, "decode", decode.Run, contraflow.Workers(2))
	solarized := contraflow.Step(crops, "solarize", Solarize{Prob: 0.2, Seed: 1}.Run)
	batches := contraflow.Step(solarized, "views", views.Run)
	features := contraflow.Step(batches, "encode", encode.Run, contraflow.Finish(encode.Finish))
	scores := contraflow.Step(features, "contrast", contrast.Run)
	contraflow.Each(contraflow.Step(scores, "update", update.Run), "print", func(_ context.Context, r *stages.Report) error {
		losses = append(losses, r.Loss)
		if r.Plan.Batch == 0 {
			fmt.Printf("epoch %d, step %d: loss %.3f\n", r.Plan.Epoch, r.Plan.Step, r.Loss)
		}
		return nil
	})
	if err := g.Run(ctx); err != nil {
		return nil, err
	}
	return losses, g.Stats().Table(os.Stdout)
}

// tower is a ResNet-18 for a view of some channels, with the weights that training begins with.
func tower(device ops.Device, v, channels int) (t stages.Tower, err error) {
	model, err := encoders.Lookup("resnet18v1", dim)
	if err != nil {
		return t, err
	}
	net := model.Net.Tower(channels, side)
	t = stages.Tower{Name: encoders.TowerName(v), Follows: -1}
	if t.Params, err = device.NewParams(net); err != nil {
		return t, err
	}
	if err := encoders.Init(t.Params, uint64(v), false); err != nil {
		return t, err
	}
	t.Program, err = device.Compile(net, t.Params, ops.Options{Batch: batchSize, Train: true})
	return t, err
}
