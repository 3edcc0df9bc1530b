package torch

import (
	"fmt"
	"regexp"
	"strings"
)

// Checkpoint is what the reference's scripts keep in a .pth:
//
//	train_CMC       opt, model, contrast, optimizer, epoch
//	train_moco_ins  the same, and model_ema for MoCo
//	probes          opt, epoch, classifier, best_acc1, optimizer
//
// Missing parts are nil or zero. Tensors are those of the File and are read on demand.
type Checkpoint struct {
	Options   *Dict // opt, usually an argparse.Namespace
	Model     StateDict
	Prefix    string // what stood before the names of Model in the file: "encoder.module."
	ModelEMA  StateDict
	Contrast  StateDict // CMC: params, memory_l, memory_ab; InsDis: params, memory; MoCo: params, memory
	Optimizer *Optimizer
	Epoch     int // epochs done, counted from 1 as the scripts do; 0 when the file does not say

	Classifier StateDict
	BestAcc1   *Tensor // one element, percent

	Extra *Dict // every other entry, in order; nil without
}

// StateDict is a state dictionary in file order. Those of encoders have names without wrapper prefixes, such
// as "l_to_ab.conv1.weight".
type StateDict []Named

// Lookup finds a tensor by name, or nil.
func (s StateDict) Lookup(name string) *Tensor {
	for i := range s {
		if s[i].Name == name {
			return s[i].Tensor
		}
	}
	return nil
}

// Parameters are the tensors that an optimizer sees, in its order: all but the buffers of batch norm.
func (s StateDict) Parameters() StateDict {
	var out StateDict
	for _, t := range s {
		if !buffer(t.Name) {
			out = append(out, t)
		}
	}
	return out
}

func buffer(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return last == "running_mean" || last == "running_var" || last == "num_batches_tracked"
}

// Optimizer is the state of torch.optim.SGD, or of torch.optim.Adam, with one parameter group.
type Optimizer struct {
	LR, Momentum, Dampening, WeightDecay float64
	Nesterov                             bool

	// Velocity are the momentum buffers in parameter order, nil where there is none yet.
	Velocity []*Tensor

	Adam *Adam // nil for SGD
}

// Adam is what torch.optim.Adam has in place of momentum.
type Adam struct {
	Beta1, Beta2, Eps float64
	Steps             int
	First, Second     []*Tensor // exp_avg and exp_avg_sq in parameter order, nil where there is none yet
}

// ReferencePrefix is what the reference puts before the names of an encoder: the attribute and its DataParallel.
const ReferencePrefix = "encoder.module."

// wrappers are the prefixes that DataParallel, DistributedDataParallel, torch.compile and the model's own
// attribute put before the names of an encoder's tensors.
var wrappers = regexp.MustCompile(`^(module\.|encoder\.|_orig_mod\.)*`)

// Checkpoint finds the dictionaries of the reference in f. A bare state dict is taken as a model, and so is an
// entry called state_dict.
func (f *File) Checkpoint() (*Checkpoint, error) {
	root, ok := f.Root.(*Dict)
	if !ok {
		return nil, fmt.Errorf("the file holds a %T, expected a dict: use a checkpoint or a state_dict", f.Root)
	}
	c := &Checkpoint{}
	if _, tensor := first(root).(*Tensor); tensor {
		var err error
		c.Model, c.Prefix, err = encoderState("model", root)
		return c, err
	}
	for i := range root.Len() {
		key, v := root.At(i)
		name, _ := key.(string)
		if err := c.entry(name, key, v); err != nil {
			return nil, err
		}
	}
	if c.Model == nil && c.Classifier == nil {
		return nil, fmt.Errorf("no model, state_dict or classifier among the %d entries of the file", root.Len())
	}
	if c.Optimizer != nil {
		params := c.Model.Parameters()
		if c.Classifier != nil {
			params = c.Classifier.Parameters()
		}
		if err := c.Optimizer.check(params); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func first(d *Dict) Value {
	if d.Len() == 0 {
		return nil
	}
	_, v := d.At(0)
	return v
}

func (c *Checkpoint) entry(name string, key, v Value) (err error) {
	switch name {
	case "opt":
		if d, ok := v.(*Dict); ok {
			c.Options = d
			return nil
		}
		return fmt.Errorf("opt is a %T, expected an argparse.Namespace", v)
	case "model", "state_dict":
		c.Model, c.Prefix, err = encoderState(name, v)
		return err
	case "model_ema":
		c.ModelEMA, _, err = encoderState(name, v)
		return err
	case "contrast":
		c.Contrast, err = stateDict(name, v)
		return err
	case "classifier":
		c.Classifier, err = stateDict(name, v)
		return err
	case "optimizer":
		c.Optimizer, err = optimizer(v)
		return err
	case "epoch":
		n, ok := Int(v)
		if !ok || n < 0 || n > 1<<31 {
			return fmt.Errorf("epoch is %T, expected a count", v)
		}
		c.Epoch = int(n)
		return nil
	case "best_acc1":
		if t, ok := v.(*Tensor); ok && t.Len() == 1 {
			c.BestAcc1 = t
			return nil
		}
	}
	if c.Extra == nil {
		c.Extra = NewDict(PlainDict)
	}
	c.Extra.Set(key, v)
	return nil
}

func stateDict(name string, v Value) (StateDict, error) {
	d, ok := v.(*Dict)
	if !ok {
		return nil, fmt.Errorf("%s is a %T, expected a state_dict: was the whole module saved?", name, v)
	}
	s := make(StateDict, 0, d.Len())
	for i := range d.Len() {
		k, v := d.At(i)
		key, ok := k.(string)
		t, ok2 := v.(*Tensor)
		if !ok || !ok2 {
			return nil, fmt.Errorf("%s has an entry %.100q that is a %T, expected a tensor", name, fmt.Sprint(k), v)
		}
		s = append(s, Named{key, t})
	}
	return s, nil
}

// encoderState is a state dict without the wrappers' prefixes.
func encoderState(name string, v Value) (StateDict, string, error) {
	s, err := stateDict(name, v)
	if err != nil {
		return nil, "", err
	}
	seen := make(map[string]bool, len(s))
	prefix := ""
	for i := range s {
		p := wrappers.FindString(s[i].Name)
		if i == 0 {
			prefix = p
		}
		s[i].Name = s[i].Name[len(p):]
		if seen[s[i].Name] {
			return nil, "", fmt.Errorf("%s has %q twice once wrapper prefixes are removed", name, s[i].Name)
		}
		seen[s[i].Name] = true
	}
	return s, prefix, nil
}

// optimizer reads {param_groups: [{lr, …, params: [ids]}], state: {id: {momentum_buffer}}}, of Adam with {betas} in the group and
// {step, exp_avg, exp_avg_sq} in the state. Ids are memory addresses in files before PyTorch 1.5, indices since.
func optimizer(v Value) (_ *Optimizer, err error) {
	d, _ := v.(*Dict)
	groups, _ := d.Get("param_groups")
	list, ok := groups.(*List)
	state := d.Dict("state")
	if !ok || state == nil {
		return nil, fmt.Errorf("optimizer is not a dict of param_groups and state")
	}
	o := &Optimizer{}
	for i, g := range list.Items {
		group, ok := g.(*Dict)
		params, _ := group.Get("params")
		ids, ok2 := params.(*List)
		if !ok || !ok2 {
			return nil, fmt.Errorf("optimizer: group %d has no list of params", i)
		}
		if i == 0 {
			for key, dst := range map[string]*float64{
				"lr": &o.LR, "momentum": &o.Momentum, "dampening": &o.Dampening, "weight_decay": &o.WeightDecay,
			} {
				v, _ := group.Get(key)
				*dst, _ = Float(v)
			}
			v, _ := group.Get("nesterov")
			o.Nesterov, _ = v.(bool)
			if betas, ok := group.Get("betas"); ok {
				if o.Adam, err = adam(group, betas); err != nil {
					return nil, err
				}
			}
		}
		for _, id := range ids.Items {
			n, ok := id.(int64)
			if !ok {
				return nil, fmt.Errorf("optimizer: a parameter id is a %T, expected an int", id)
			}
			s := state.Dict(n)
			tensor := func(key string) *Tensor {
				v, _ := s.Get(key)
				t, _ := v.(*Tensor)
				return t
			}
			o.Velocity = append(o.Velocity, tensor("momentum_buffer"))
			if a := o.Adam; a != nil {
				a.First, a.Second = append(a.First, tensor("exp_avg")), append(a.Second, tensor("exp_avg_sq"))
				if v, ok := s.Get("step"); ok {
					if a.Steps, err = steps(v); err != nil {
						return nil, err
					}
				}
			}
		}
	}
	return o, nil
}

// adam reads what a parameter group of Adam has beside that of SGD.
func adam(group *Dict, betas Value) (*Adam, error) {
	pair, ok := betas.(Tuple)
	if l, is := betas.(*List); is {
		pair, ok = l.Items, true
	}
	if !ok || len(pair) != 2 {
		return nil, fmt.Errorf("optimizer: betas are a %T, expected a pair", betas)
	}
	a := &Adam{}
	a.Beta1, _ = Float(pair[0])
	a.Beta2, _ = Float(pair[1])
	eps, _ := group.Get("eps")
	a.Eps, _ = Float(eps)
	return a, nil
}

// steps reads Adam's count: a tensor of one float since PyTorch 1.12, an int before.
func steps(v Value) (int, error) {
	n, ok := Float(v)
	if t, is := v.(*Tensor); is && t.Len() == 1 {
		r, err := t.Raw("step")
		if err != nil {
			return 0, err
		}
		n, ok = r.At(0), true
	}
	if !ok || !(n >= 0 && n < 1<<31) {
		return 0, fmt.Errorf("optimizer: step is %.100q, expected a count", fmt.Sprint(v))
	}
	return int(n), nil
}

// check compares momentum buffers with the parameters they belong to.
func (o *Optimizer) check(params StateDict) error {
	if len(params) != len(o.Velocity) {
		return fmt.Errorf("optimizer has %d parameters, the model has %d", len(o.Velocity), len(params))
	}
	buffers := [][]*Tensor{o.Velocity}
	if a := o.Adam; a != nil {
		buffers = append(buffers, a.First, a.Second)
	}
	for _, b := range buffers {
		for i, v := range b {
			if v != nil && !equal(v.Shape, params[i].Shape) {
				return fmt.Errorf("optimizer: momentum of %q has shape %v, the parameter %v", params[i].Name, v.Shape, params[i].Shape)
			}
		}
	}
	return nil
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Value is the dictionary that the reference's scripts save and load, entries in their order.
func (c *Checkpoint) Value() *Dict {
	root := NewDict(PlainDict)
	if c.Options != nil {
		root.Set("opt", c.Options)
	}
	if c.Classifier != nil {
		root.Set("epoch", int64(c.Epoch))
		root.Set("classifier", c.Classifier.value(""))
		if c.BestAcc1 != nil {
			root.Set("best_acc1", c.BestAcc1)
		}
	}
	if c.Model != nil {
		root.Set("model", c.Model.value(c.Prefix))
	}
	if c.Contrast != nil {
		root.Set("contrast", c.Contrast.value(""))
	}
	if c.Optimizer != nil {
		root.Set("optimizer", c.Optimizer.value())
	}
	root.Set("epoch", int64(c.Epoch))
	if c.ModelEMA != nil {
		root.Set("model_ema", c.ModelEMA.value(c.Prefix))
	}
	if c.Extra != nil {
		for i := range c.Extra.Len() {
			root.Set(c.Extra.At(i))
		}
	}
	return root
}

func (s StateDict) value(prefix string) *Dict {
	d := NewDict(OrderedDict)
	for _, t := range s {
		d.Set(prefix+t.Name, t.Tensor)
	}
	return d
}

func (o *Optimizer) value() *Dict {
	state, ids := NewDict(PlainDict), &List{}
	if a := o.Adam; a != nil {
		for i := range a.First {
			ids.Items = append(ids.Items, int64(i))
			if a.First[i] != nil && a.Second[i] != nil {
				state.Set(int64(i), NewDict(PlainDict).Set("step", int64(a.Steps)).Set("exp_avg", a.First[i]).Set("exp_avg_sq", a.Second[i]))
			}
		}
		group := NewDict(PlainDict).Set("lr", o.LR).Set("betas", Tuple{a.Beta1, a.Beta2}).Set("eps", a.Eps).
			Set("weight_decay", o.WeightDecay).Set("amsgrad", false).Set("params", ids)
		return NewDict(PlainDict).Set("state", state).Set("param_groups", &List{Items: []Value{group}})
	}
	for i, v := range o.Velocity {
		ids.Items = append(ids.Items, int64(i))
		if v != nil {
			state.Set(int64(i), NewDict(PlainDict).Set("momentum_buffer", v))
		}
	}
	group := NewDict(PlainDict).Set("lr", o.LR).Set("momentum", o.Momentum).Set("dampening", o.Dampening).
		Set("weight_decay", o.WeightDecay).Set("nesterov", o.Nesterov).Set("params", ids)
	return NewDict(PlainDict).Set("state", state).Set("param_groups", &List{Items: []Value{group}})
}
