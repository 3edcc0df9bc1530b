package ops

import "fmt"

// Plan is what every device begins with when it compiles a graph: the steps it has to run once what belongs together is fused,
// which values are returned, and which need a gradient. Where values lie and how a step is computed is the device's.
type Plan struct {
	Graph   *Graph
	Options Options // BNGroups at least 1
	Steps   []Step
	Outs    []Value
	Needs   []bool     // values whose gradient is wanted; nil when no Backward may follow
	FLOPs   [2]float64 // of a Forward and a Backward of the full batch
}

// Step is one unit of a plan: a node, or a batch norm with the sum and the ReLU that only it feeds.
type Step struct {
	Kind   Kind
	Node   Node
	In     []Value // x, and for a norm with a sum the other summand
	Out    Value
	Weight int // parameter of a Conv or Linear, -1 without
	Bias   int
	Norm   Norm // of a BatchNorm
}

// Norm is batch normalisation as a plan runs it.
type Norm struct {
	Groups   int  // with statistics of their own
	Batch    bool // statistics of the batch, not the running ones
	ReLU     bool // behind it, and behind its sum
	Gamma    int  // parameters, -1 without
	Beta     int
	Mean     int
	Var      int
	Batches  int
	Eps      float64
	Momentum float64
}

// NewPlan checks a graph against the parameters that a device holds for it, and plans it.
func NewPlan(g *Graph, have []ParamSpec, o Options) (*Plan, error) {
	if err := g.Err(); err != nil {
		return nil, err
	}
	if len(have) != len(g.Params) {
		return nil, fmt.Errorf("ops: the graph has %d parameters, the set %d", len(g.Params), len(have))
	}
	for i, s := range g.Params {
		if t := have[i]; t.Name != s.Name || t.Len() != s.Len() {
			return nil, fmt.Errorf("ops: parameter %d is %q %v in the graph and %q %v in the set", i, s.Name, s.Shape, t.Name, t.Shape)
		}
	}
	if o.Batch < 1 || o.BNGroups < 0 || o.BNGroups > o.Batch {
		return nil, fmt.Errorf("ops: batch %d with %d batch-norm groups: both must be at least 1, groups at most the batch", o.Batch, o.BNGroups)
	}
	o.BNGroups = max(o.BNGroups, 1)
	p := &Plan{Graph: g, Options: o}
	if err := p.outputs(); err != nil {
		return nil, err
	}
	p.fuse()
	p.gradients()
	return p, nil
}

// Keeps says whether a Backward may follow, for which activations stay.
func (p *Plan) Keeps() bool { return p.Options.Train && !p.Options.NoGrad }

// OutputShape is the shape of one sample of output i.
func (p *Plan) OutputShape(i int) Shape { return p.Graph.Nodes[p.Outs[i]].Out }

// outputs resolves the marks to return.
func (p *Plan) outputs() error {
	if len(p.Options.Outputs) == 0 {
		p.Outs = []Value{Value(len(p.Graph.Nodes) - 1)}
		return nil
	}
	for _, name := range p.Options.Outputs {
		v, ok := p.Graph.Marked(name)
		if !ok {
			var names []string
			for _, m := range p.Graph.Marks() {
				names = append(names, m.Name)
			}
			return fmt.Errorf("ops: the graph has no value %q: it has %v", name, names)
		}
		p.Outs = append(p.Outs, v)
	}
	return nil
}

// fuse turns nodes into steps, those after the last output left out.
func (p *Plan) fuse() {
	last := Value(0)
	for _, v := range p.Outs {
		last = max(last, v)
	}
	nodes := p.Graph.Nodes[:last+1]
	uses, reader := make([]int, len(nodes)), make([]int, len(nodes))
	for i, n := range nodes {
		for _, v := range n.In {
			uses[v]++
			reader[v] = i
		}
	}
	for _, v := range p.Outs {
		uses[v] += 2 // an output keeps its own buffer
	}
	only := func(v Value, k Kind) (int, bool) {
		r := reader[v]
		return r, uses[v] == 1 && nodes[r].Kind == k
	}
	swallowed := make([]bool, len(nodes)) // a ReLU or Add that belongs to a norm
	fused := make([]*Step, len(nodes))    // the norm that runs in place of a node
	for i, n := range nodes {
		if n.Kind != BatchNorm {
			continue
		}
		s := &Step{Kind: BatchNorm, Node: n, In: []Value{n.In[0]}, Out: Value(i), Norm: p.norm(n)}
		if r, ok := only(s.Out, Add); ok && !swallowed[r] {
			other := nodes[r].In[0]
			if other == s.Out {
				other = nodes[r].In[1]
			}
			if other != s.Out {
				swallowed[r] = true
				s.In, s.Out = append(s.In, other), Value(r)
			}
		}
		if r, ok := only(s.Out, ReLU); ok {
			swallowed[r] = true
			s.Out, s.Norm.ReLU = Value(r), true
		}
		fused[s.Out] = s
	}
	for i, n := range nodes {
		s := fused[i]
		if s == nil {
			if n.Kind == Input || n.Kind == BatchNorm || swallowed[i] {
				continue
			}
			s = &Step{Kind: n.Kind, Node: n, In: n.In, Out: Value(i)}
		}
		s.Weight, s.Bias = -1, -1
		if s.Kind == Conv || s.Kind == Linear {
			s.Weight = n.Params[0]
			if n.Bias {
				s.Bias = n.Params[1]
			}
			f := 2 * float64(p.Options.Batch) * float64(max(n.Kernel, 1)*max(n.Kernel, 1)*nodes[n.In[0]].Out.C/max(n.Groups, 1)) * float64(n.Out.Len())
			p.FLOPs[0] += f
			p.FLOPs[1] += 2 * f
		}
		p.Steps = append(p.Steps, *s)
	}
}

func (p *Plan) norm(n Node) Norm {
	b := Norm{Groups: p.Options.BNGroups, Eps: n.Eps, Momentum: n.Momentum,
		Batch: !n.Track || (p.Options.Train && !p.Options.RunningStats), Gamma: -1, Beta: -1, Mean: -1, Var: -1, Batches: -1}
	if n.Affine {
		b.Gamma, b.Beta = n.Params[0], n.Params[1]
	}
	if k := len(n.Params) - 3; n.Track {
		b.Mean, b.Var, b.Batches = n.Params[k], n.Params[k+1], n.Params[k+2]
	}
	if !b.Batch {
		b.Groups = 1
	}
	return b
}

// gradients finds which values need one: those made from parameters, and of those.
func (p *Plan) gradients() {
	if !p.Keeps() {
		return
	}
	p.Needs = make([]bool, len(p.Graph.Nodes))
	p.Needs[0] = p.Options.InputGrad
	for _, s := range p.Steps {
		need := s.Weight >= 0 || (s.Kind == BatchNorm && s.Node.Affine)
		for _, v := range s.In {
			need = need || p.Needs[v]
		}
		p.Needs[s.Out] = need
	}
}
