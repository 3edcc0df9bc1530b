package encoders

import (
	"fmt"

	"github.com/contraflow/contraflow/ops"
)

// AlexNet is one half of the split network of contrastive multiview coding (Tian et al., arXiv:1906.05849): every
// width is half of CaffeNet's.
type AlexNet struct {
	Out int // dimension of the embedding
}

// smallest is the image side from which the reference's strides and pools leave anything: below it the first convolution
// moves by two pixels and the first pool by one, which changes no parameter.
const smallest = 96

// Tower implements Net. Marks: layer1–5 are the convolution blocks, layer6–7 the hidden vectors, layer8 the embedding
// of unit length. fc6 takes as many inputs as the last block gives at this image size, 4608 at 224.
func (a AlexNet) Tower(channels, size int) *ops.Graph {
	g := ops.NewGraph(ops.Shape{C: channels, H: size, W: size})
	x := g.Input()
	block := func(i int, o ops.ConvOptions, pool int) {
		name := fmt.Sprintf("conv_block_%d", i)
		x = g.ReLU(g.BatchNorm(g.Conv(x, name+".0", o), name+".1"))
		if pool > 0 {
			x = g.MaxPool(x, 3, pool, 0)
		}
		g.Mark(fmt.Sprintf("layer%d", i), x)
	}
	stride, pool := 4, 2
	if size < smallest {
		stride, pool = 2, 1
	}
	block(1, ops.ConvOptions{Out: 48, Kernel: 11, Stride: stride, Pad: 2}, pool)
	block(2, ops.ConvOptions{Out: 128, Kernel: 5, Pad: 2}, 2)
	block(3, ops.ConvOptions{Out: 192, Kernel: 3, Pad: 1}, 0)
	block(4, ops.ConvOptions{Out: 192, Kernel: 3, Pad: 1}, 0)
	block(5, ops.ConvOptions{Out: 128, Kernel: 3, Pad: 1}, 2)
	x = g.Flatten(x)
	for i := 6; i <= 7; i++ {
		name := fmt.Sprintf("fc%d", i)
		x = g.ReLU(g.BatchNorm(g.Linear(x, name+".0", 2048, true), name+".1"))
		g.Mark(fmt.Sprintf("layer%d", i), x)
	}
	g.Mark("layer8", g.L2Norm(g.Linear(x, "fc8.0", a.Out, true)))
	return g
}

// Layers is the number of marks.
func (a AlexNet) Layers() int { return 8 }

// Check reports a size that the network cannot take.
func (a AlexNet) Check() error {
	if a.Out < 1 {
		return fmt.Errorf("encoders: an embedding of %d: must be positive", a.Out)
	}
	return nil
}
