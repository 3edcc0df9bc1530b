package ops

// ConvOptions are the sizes of a convolution. Zero Stride and Groups mean 1.
type ConvOptions struct {
	Out, Kernel, Stride, Pad, Groups int
	Bias                             bool
}

// Conv adds a square 2-D convolution with weight name.weight [Out, C/Groups, Kernel, Kernel].
func (g *Graph) Conv(x Value, name string, o ConvOptions) Value {
	o.Stride, o.Groups = max(o.Stride, 1), max(o.Groups, 1)
	in := g.Shape(x)
	if o.Out < 1 || o.Kernel < 1 || o.Pad < 0 || in.C%o.Groups != 0 || o.Out%o.Groups != 0 {
		g.fail("conv %s: %d → %d channels, kernel %d, pad %d, %d groups do not fit", name, in.C, o.Out, o.Kernel, o.Pad, o.Groups)
		o.Groups, o.Out, o.Kernel = 1, max(o.Out, 1), max(o.Kernel, 1)
	}
	params := []ParamSpec{{Name: "weight", Shape: []int{o.Out, in.C / o.Groups, o.Kernel, o.Kernel}, Role: Weight}}
	if o.Bias {
		params = append(params, ParamSpec{Name: "bias", Shape: []int{o.Out}, Role: Bias})
	}
	h, w := g.window(name, in, o.Kernel, o.Stride, o.Pad)
	return g.add(Node{
		Kind: Conv, In: []Value{x}, Out: Shape{o.Out, h, w}, Name: name,
		Kernel: o.Kernel, Stride: o.Stride, Pad: o.Pad, Groups: o.Groups, Bias: o.Bias,
	}, params...)
}

// BatchNorm adds batch normalisation with γ, β, running mean, running variance and a batch counter
// (eps 1e-5, momentum 0.1). Training uses the biased variance of the batch, the running one is unbiased.
func (g *Graph) BatchNorm(x Value, name string) Value {
	c := []int{g.Shape(x).C}
	return g.add(
		Node{Kind: BatchNorm, In: []Value{x}, Out: g.Shape(x), Name: name, Affine: true, Track: true, Eps: 1e-5, Momentum: 0.1},
		ParamSpec{Name: "weight", Shape: c, Role: Gamma},
		ParamSpec{Name: "bias", Shape: c, Role: Beta},
		ParamSpec{Name: "running_mean", Shape: c, Role: RunningMean},
		ParamSpec{Name: "running_var", Shape: c, Role: RunningVar},
		ParamSpec{Name: "num_batches_tracked", Shape: []int{}, Role: Batches},
	)
}

// BatchNormPlain adds batch normalisation without parameters: always the statistics of the batch.
func (g *Graph) BatchNormPlain(x Value) Value {
	return g.add(Node{Kind: BatchNorm, In: []Value{x}, Out: g.Shape(x), Eps: 1e-5, Momentum: 0.1})
}

// ReLU adds max(x, 0).
func (g *Graph) ReLU(x Value) Value {
	return g.add(Node{Kind: ReLU, In: []Value{x}, Out: g.Shape(x)})
}

// Add adds the elementwise sum of a and b, which have one shape.
func (g *Graph) Add(a, b Value) Value {
	if g.Shape(a) != g.Shape(b) {
		g.fail("add: shapes %v and %v differ", g.Shape(a), g.Shape(b))
	}
	return g.add(Node{Kind: Add, In: []Value{a, b}, Out: g.Shape(a)})
}

// MaxPool adds a square window maximum; padding counts as -inf.
func (g *Graph) MaxPool(x Value, kernel, stride, pad int) Value {
	if 2*pad > kernel {
		g.fail("max pool: pad %d is more than half of kernel %d", pad, kernel)
	}
	h, w := g.window("max pool", g.Shape(x), kernel, stride, pad)
	return g.add(Node{Kind: MaxPool, In: []Value{x}, Out: Shape{g.Shape(x).C, h, w}, Kernel: kernel, Stride: stride, Pad: pad})
}

// AvgPool adds a square window mean without padding.
func (g *Graph) AvgPool(x Value, kernel, stride int) Value {
	h, w := g.window("average pool", g.Shape(x), kernel, stride, 0)
	return g.add(Node{Kind: AvgPool, In: []Value{x}, Out: Shape{g.Shape(x).C, h, w}, Kernel: kernel, Stride: stride})
}

// AdaptiveMaxPool adds the maximum over bins×bins overlapping bins.
func (g *Graph) AdaptiveMaxPool(x Value, bins int) Value { return g.adaptive(AdaptiveMax, x, bins) }

// AdaptiveAvgPool adds the mean over bins×bins overlapping bins; one bin is the global mean.
func (g *Graph) AdaptiveAvgPool(x Value, bins int) Value { return g.adaptive(AdaptiveAvg, x, bins) }

func (g *Graph) adaptive(k Kind, x Value, bins int) Value {
	if bins < 1 {
		g.fail("adaptive pool: %d bins", bins)
		bins = 1
	}
	return g.add(Node{Kind: k, In: []Value{x}, Out: Shape{g.Shape(x).C, bins, bins}, Bins: bins})
}

// Flatten turns [C,H,W] into a vector in that order.
func (g *Graph) Flatten(x Value) Value {
	return g.add(Node{Kind: Flatten, In: []Value{x}, Out: Shape{g.Shape(x).Len(), 1, 1}})
}

// Linear adds a fully connected layer on a vector, with weight name.weight [out, in].
func (g *Graph) Linear(x Value, name string, out int, bias bool) Value {
	in := g.Shape(x)
	if in.H != 1 || in.W != 1 || out < 1 {
		g.fail("linear %s: input %v → %d: needs a vector, flatten it first", name, in, out)
	}
	params := []ParamSpec{{Name: "weight", Shape: []int{out, in.Len()}, Role: Weight}}
	if bias {
		params = append(params, ParamSpec{Name: "bias", Shape: []int{out}, Role: Bias})
	}
	return g.add(Node{Kind: Linear, In: []Value{x}, Out: Shape{out, 1, 1}, Name: name, Bias: bias}, params...)
}

// Dropout adds dropout at the given rate, active in training only.
func (g *Graph) Dropout(x Value, rate float64) Value {
	if rate < 0 || rate >= 1 {
		g.fail("dropout: rate %v is outside [0,1)", rate)
	}
	return g.add(Node{Kind: Dropout, In: []Value{x}, Out: g.Shape(x), Rate: rate})
}

// L2Norm adds x/|x| over a vector.
func (g *Graph) L2Norm(x Value) Value {
	return g.add(Node{Kind: L2Norm, In: []Value{x}, Out: g.Shape(x)})
}

// window is the output size of a sliding window, floor((s + 2·pad - kernel)/stride) + 1.
func (g *Graph) window(name string, in Shape, kernel, stride, pad int) (h, w int) {
	if kernel < 1 || stride < 1 {
		g.fail("%s: kernel %d, stride %d: both must be at least 1", name, kernel, stride)
		return 1, 1
	}
	h, w = (in.H+2*pad-kernel)/stride+1, (in.W+2*pad-kernel)/stride+1
	if in.H+2*pad < kernel || in.W+2*pad < kernel {
		g.fail("%s: a %d×%d window with pad %d does not fit %v: use larger images", name, kernel, kernel, pad, in)
		return 1, 1
	}
	return h, w
}
