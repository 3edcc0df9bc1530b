package ops

import "fmt"

// Kind says what a Node computes.
type Kind uint8

// The operations. Shapes are per sample; every operation keeps the batch.
const (
	Input       Kind = iota
	Conv             // 2-D convolution, optional groups and bias
	BatchNorm        // over batch and space, per channel; optional affine and running statistics
	ReLU             // max(x, 0), gradient 0 at 0
	Add              // elementwise sum of two values of one shape
	MaxPool          // window maximum, padding is -inf, floor
	AvgPool          // window mean without padding, floor
	AdaptiveMax      // bins [floor(i·s/n), ceil((i+1)·s/n))
	AdaptiveAvg      // the same bins, mean
	Flatten          // C,H,W order
	Linear           // [in] → [out], optional bias
	Dropout          // keeps with probability 1-rate and scales by 1/(1-rate); identity outside training
	L2Norm           // x/|x| per sample, no epsilon (a zero vector stays zero)
)

var kindNames = [...]string{"input", "conv", "batchnorm", "relu", "add", "maxpool", "avgpool", "adaptivemax", "adaptiveavg",
	"flatten", "linear", "dropout", "l2norm"}

func (k Kind) String() string { return kindNames[k] }

// Shape is the shape of one sample, channels first. A vector has H = W = 1.
type Shape struct{ C, H, W int }

// Len is the number of elements of one sample.
func (s Shape) Len() int { return s.C * s.H * s.W }

func (s Shape) String() string { return fmt.Sprintf("[%d,%d,%d]", s.C, s.H, s.W) }

// Value is the output of one Node: its index in Graph.Nodes.
type Value int

// Node is one operation of a Graph.
type Node struct {
	Kind Kind
	In   []Value
	Out  Shape
	Name string // parameter prefix, "layer1.0.conv1"; empty without parameters

	Kernel, Stride, Pad, Groups int // Conv and pools
	Bins                        int // adaptive pools: output is Bins×Bins
	Bias                        bool
	Affine, Track               bool    // BatchNorm: has γ and β; has running statistics
	Eps, Momentum               float64 // BatchNorm: 1e-5, 0.1
	Rate                        float64 // Dropout

	Params []int // indices into Graph.Params, in state-dict order
}

// Role says what a parameter tensor is for: who changes it, and how it is initialised.
type Role uint8

// The roles, in the order in which a layer lists its tensors.
const (
	Weight      Role = iota // Conv and Linear weight: gradient, decay
	Gamma                   // BatchNorm weight
	Beta                    // BatchNorm bias
	Bias                    // Conv and Linear bias
	RunningMean             // buffer: no gradient
	RunningVar              // buffer
	Batches                 // buffer: num_batches_tracked, an int64 scalar in files, one float32 here
)

// Trainable reports whether the optimiser changes tensors of this role.
func (r Role) Trainable() bool { return r <= Bias }

// ParamSpec describes one tensor of a Graph, named and shaped as the reference's state dict has it:
// convolution weights [out,in/groups,kh,kw], linear weights [out,in], everything else [channels], Batches [].
type ParamSpec struct {
	Name  string
	Shape []int
	Role  Role
	Node  Value
}

// Len is the number of elements.
func (p ParamSpec) Len() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// FanIn is the product of every dimension but the first.
func (p ParamSpec) FanIn() int {
	n := 1
	for _, d := range p.Shape[min(1, len(p.Shape)):] {
		n *= d
	}
	return n
}

// Graph is a small static description of a network: a list of operations in the order they run.
// The methods that add one never fail; the first mistake is kept and returned by Err, with both shapes in
// its message, so that a network reads as a list of layers.
type Graph struct {
	Nodes  []Node
	Params []ParamSpec
	marks  []Mark
	err    error
}

// Mark is a named value that a Program can return: "layer1" … "layer8".
type Mark struct {
	Name  string
	Value Value
}

// NewGraph starts a network on samples of shape in.
func NewGraph(in Shape) *Graph {
	g := &Graph{}
	if in.C < 1 || in.H < 1 || in.W < 1 {
		g.err = fmt.Errorf("ops: input shape %v: every dimension must be at least 1", in)
	}
	g.Nodes = []Node{{Kind: Input, Out: in}}
	return g
}

// Err is the first mistake made while building, or nil.
func (g *Graph) Err() error { return g.err }

// Input is the value that Forward is given.
func (g *Graph) Input() Value { return 0 }

// Shape is the shape of one sample of v.
func (g *Graph) Shape(v Value) Shape { return g.Nodes[v].Out }

// Mark names v so that a Program can return it. Names are unique.
func (g *Graph) Mark(name string, v Value) {
	for _, m := range g.marks {
		if m.Name == name {
			g.fail("mark %q is used twice", name)
		}
	}
	g.marks = append(g.marks, Mark{name, v})
}

// Marks lists the named values in the order they were marked.
func (g *Graph) Marks() []Mark { return g.marks }

// Marked finds a named value.
func (g *Graph) Marked(name string) (Value, bool) {
	for _, m := range g.marks {
		if m.Name == name {
			return m.Value, true
		}
	}
	return 0, false
}

func (g *Graph) fail(format string, args ...any) {
	if g.err == nil {
		g.err = fmt.Errorf("ops: "+format, args...)
	}
}

// add appends n and its parameters.
func (g *Graph) add(n Node, params ...ParamSpec) Value {
	v := Value(len(g.Nodes))
	for _, p := range params {
		p.Name, p.Node = n.Name+"."+p.Name, v
		n.Params = append(n.Params, len(g.Params))
		g.Params = append(g.Params, p)
	}
	g.Nodes = append(g.Nodes, n)
	return v
}
