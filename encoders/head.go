package encoders

import (
	"fmt"

	"github.com/contraflow/contraflow/ops"
)

// Marks of the heads that a tower is trained through. A tower keeps all of its own layers, so that what was trained with a
// head is read like any other encoder: without it.
const (
	Logits     = "logits"
	Prediction = "prediction"
)

// Classify puts a linear classifier on a tower's marked features; its logits are the mark Logits. Several towers whose logits
// are added are one linear classifier on their features laid side by side.
func Classify(g *ops.Graph, features string, classes int) error {
	v, ok := g.Marked(features)
	if !ok {
		return fmt.Errorf("encoders: the tower has no %s to classify", features)
	}
	g.Mark(Logits, g.Linear(g.Flatten(v), "classifier", classes, true))
	return g.Err()
}

// Decode puts a decoder on a tower's marked map and predicts an image of shape out, which is square: blocks of nearest
// upsampling by two, a 3×3 convolution, batch norm and ReLU, as many as the map is smaller, the channels halving down to 32,
// then a 3×3 convolution to the channels of the image. The prediction is the mark Prediction.
//
// Upsampling is an adaptive mean over more bins than there are pixels: bins [floor(i·s/n), ceil((i+1)·s/n)) of a size s that
// divides n hold one pixel each.
func Decode(g *ops.Graph, from string, out ops.Shape) error {
	x, ok := g.Marked(from)
	if !ok {
		return fmt.Errorf("encoders: the tower has no %s to decode", from)
	}
	if s := g.Shape(x); out.H != out.W || s.H != s.W || s.H > out.H {
		return fmt.Errorf("encoders: a decoder from %v to %v: both must be square, the image the larger", s, out)
	}
	channels := min(g.Shape(x).C, 128)
	for i := 0; g.Shape(x).H < out.H; i++ {
		name := fmt.Sprintf("decoder.%d", i)
		x = g.AdaptiveAvgPool(x, min(2*g.Shape(x).H, out.H))
		x = g.Conv(x, name+".conv", ops.ConvOptions{Out: channels, Kernel: 3, Pad: 1})
		x = g.ReLU(g.BatchNorm(x, name+".bn"))
		channels = max(channels/2, 32)
	}
	g.Mark(Prediction, g.Conv(x, "decoder.out", ops.ConvOptions{Out: out.C, Kernel: 3, Pad: 1, Bias: true}))
	return g.Err()
}
