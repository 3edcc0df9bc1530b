package encoders

import (
	"fmt"

	"github.com/contraflow/contraflow/ops"
)

// ResNet is a residual network (He et al., arXiv:1512.03385) whose stem always has 64 channels, whatever its width.
type ResNet struct {
	Bottleneck bool
	Blocks     [4]int  // residual blocks in each stage
	Width      float64 // planes of the first stage, in units of 64
	Out        int     // dimension of the embedding
	SmallStem  bool    // 3×3 stride 1 without pooling, for images of about 32 pixels
}

// depths of the published networks.
var depths = map[int]ResNet{
	18:  {Blocks: [4]int{2, 2, 2, 2}},
	34:  {Blocks: [4]int{3, 4, 6, 3}},
	50:  {Blocks: [4]int{3, 4, 6, 3}, Bottleneck: true},
	101: {Blocks: [4]int{3, 4, 23, 3}, Bottleneck: true},
	152: {Blocks: [4]int{3, 8, 36, 3}, Bottleneck: true},
}

// Tower implements Net. Marks: layer1 is the stem, layer2–5 the stages, layer6 the pooled features, layer7 the
// embedding of unit length.
func (r ResNet) Tower(channels, size int) *ops.Graph {
	g := ops.NewGraph(ops.Shape{C: channels, H: size, W: size})
	x := g.Input()
	if r.SmallStem {
		x = g.Conv(x, "conv1", ops.ConvOptions{Out: 64, Kernel: 3, Pad: 1})
		x = g.ReLU(g.BatchNorm(x, "bn1"))
	} else {
		x = g.Conv(x, "conv1", ops.ConvOptions{Out: 64, Kernel: 7, Stride: 2, Pad: 3})
		x = g.MaxPool(g.ReLU(g.BatchNorm(x, "bn1")), 3, 2, 1)
	}
	g.Mark("layer1", x)
	planes := int(64 * r.Width)
	for stage, blocks := range r.Blocks {
		for b := range blocks {
			stride := 1
			if stage > 0 && b == 0 {
				stride = 2
			}
			x = r.block(g, x, fmt.Sprintf("layer%d.%d", stage+1, b), planes<<stage, stride)
		}
		g.Mark(fmt.Sprintf("layer%d", stage+2), x)
	}
	x = g.Flatten(g.AdaptiveAvgPool(x, 1))
	g.Mark("layer6", x)
	g.Mark("layer7", g.L2Norm(g.Linear(x, "fc", r.Out, true)))
	return g
}

// block adds a residual block. In a bottleneck the 3×3 convolution carries the stride.
func (r ResNet) block(g *ops.Graph, x ops.Value, name string, planes, stride int) ops.Value {
	conv := func(v ops.Value, i, out, kernel, stride int) ops.Value {
		v = g.Conv(v, fmt.Sprintf("%s.conv%d", name, i), ops.ConvOptions{Out: out, Kernel: kernel, Stride: stride, Pad: kernel / 2})
		return g.BatchNorm(v, fmt.Sprintf("%s.bn%d", name, i))
	}
	out := planes
	var y ops.Value
	if r.Bottleneck {
		out = 4 * planes
		y = g.ReLU(conv(x, 1, planes, 1, 1))
		y = g.ReLU(conv(y, 2, planes, 3, stride))
		y = conv(y, 3, out, 1, 1)
	} else {
		y = g.ReLU(conv(x, 1, planes, 3, stride))
		y = conv(y, 2, planes, 3, 1)
	}
	if stride != 1 || g.Shape(x).C != out {
		x = g.Conv(x, name+".downsample.0", ops.ConvOptions{Out: out, Kernel: 1, Stride: stride})
		x = g.BatchNorm(x, name+".downsample.1")
	}
	return g.ReLU(g.Add(y, x))
}

// Layers is the number of marks.
func (r ResNet) Layers() int { return 7 }

// Check reports a size that the network cannot take.
func (r ResNet) Check() error {
	if r.Width <= 0 || r.Out < 1 || int(64*r.Width) < 1 {
		return fmt.Errorf("encoders: width %v, embedding of %d: both must be positive", r.Width, r.Out)
	}
	return nil
}
