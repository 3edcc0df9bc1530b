package flows

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/io/torch"
)

// What a state that came from a .pth keeps of it besides tensors: the options as they stood there, and the optimiser's numbers.
const (
	metaOptions   = "options"   // Options
	metaOpt       = "opt"       // the reference's own options, flag names to values
	metaOptimizer = "optimizer" // pthOptimizer
)

type pthOptimizer struct {
	LR          float64 `json:"lr"`
	Momentum    float64 `json:"momentum"`
	Dampening   float64 `json:"dampening"`
	WeightDecay float64 `json:"weight_decay"`
	Nesterov    bool    `json:"nesterov"`

	Adam *pthAdam `json:"adam,omitempty"` // nil for SGD
}

type pthAdam struct {
	Beta1 float64 `json:"beta1"`
	Beta2 float64 `json:"beta2"`
	Eps   float64 `json:"eps"`
	Steps int     `json:"steps"`
}

// readPth reads a checkpoint of the reference. A .pth of another kind gives its tensors under their paths.
func readPth(path string) (*checkpoint.State, error) {
	f, err := torch.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &checkpoint.State{Meta: map[string]json.RawMessage{}}
	c, err := f.Checkpoint()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := fromPth(s, c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// fromPth fills s.
func fromPth(s *checkpoint.State, c *torch.Checkpoint) error {
	add := func(prefix string, d torch.StateDict) error {
		for _, t := range d {
			r, err := t.Raw(prefix + t.Name)
			if err != nil {
				return err
			}
			s.Tensors = append(s.Tensors, r)
		}
		return nil
	}
	if err := add(torch.ReferencePrefix, c.Model); err != nil {
		return err
	}
	if o := c.Optimizer; o != nil {
		prefix, params := torch.ReferencePrefix, c.Model.Parameters()
		if c.Classifier != nil {
			prefix, params = classifierPrefix, c.Classifier.Parameters()
		}
		var velocity torch.StateDict
		for i, p := range params {
			if v := o.Velocity[i]; v != nil {
				velocity = append(velocity, torch.Named{Name: p.Name, Tensor: v})
			}
		}
		if err := add(velocityPrefix+prefix, velocity); err != nil {
			return err
		}
		numbers := pthOptimizer{LR: o.LR, Momentum: o.Momentum, Dampening: o.Dampening, WeightDecay: o.WeightDecay, Nesterov: o.Nesterov}
		if a := o.Adam; a != nil {
			numbers.Adam = &pthAdam{a.Beta1, a.Beta2, a.Eps, a.Steps}
			for i, p := range params {
				if a.First[i] == nil || a.Second[i] == nil {
					continue
				}
				err := errors.Join(add(adamFirst, torch.StateDict{{Name: p.Name, Tensor: a.First[i]}}), add(adamSecond, torch.StateDict{{Name: p.Name, Tensor: a.Second[i]}}))
				if err != nil {
					return err
				}
			}
		}
		if err := setMeta(s, metaOptimizer, numbers); err != nil {
			return err
		}
	}
	if err := add(momentumPrefix+torch.ReferencePrefix, c.ModelEMA); err != nil {
		return err
	}
	if err := add(bankPrefix, c.Contrast); err != nil {
		return err
	}
	if err := add(classifierPrefix, c.Classifier); err != nil {
		return err
	}
	if c.BestAcc1 != nil {
		if err := add("", torch.StateDict{{Name: "best_acc1", Tensor: c.BestAcc1}}); err != nil {
			return err
		}
	}
	if c.Options != nil {
		s.Meta[metaOpt] = appendJSON(nil, c.Options)
		if method := methodOf(c); method != "" {
			if err := setMeta(s, metaOptions, optionsFrom(method, c.Options)); err != nil {
				return err
			}
		}
	}
	s.Epoch = c.Epoch
	if err := readEntry(s, c.Extra); err != nil {
		return err
	}
	if methodOf(c) == "moco" && s.Tensor(bankPrefix+queuePointer) == nil {
		// The reference forgets where its queue was written last and starts again at row 0.
		s.Tensors = append(s.Tensors, raw.FromFloat32(bankPrefix+queuePointer, []int{1}, []float32{0}))
	}
	return nil
}

// queuePointer is the tensor that the reference does not save.
const queuePointer = "queue_ptr"

// methodOf tells the training scripts apart by the bank they save.
func methodOf(c *torch.Checkpoint) string {
	switch {
	case c.ModelEMA != nil:
		return "moco"
	case c.Contrast.Lookup("memory_l") != nil:
		return "cmc"
	case c.Contrast.Lookup("memory") != nil:
		return "insdis"
	}
	return ""
}

func setMeta(s *checkpoint.State, key string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	s.Meta[key] = text
	return nil
}

// readEntry reads what WriteState keeps beside the reference's dictionaries.
func readEntry(s *checkpoint.State, extra *torch.Dict) error {
	d := extra.Dict(metaKey)
	if d == nil {
		return nil
	}
	text, _ := d.Get("cursor")
	line, ok := text.(string)
	if !ok {
		return fmt.Errorf("entry %q has no cursor", metaKey)
	}
	var c cursor
	if err := json.Unmarshal([]byte(line), &c); err != nil {
		return fmt.Errorf("entry %q: %w", metaKey, err)
	}
	c.into(s)
	tensors := d.Dict("tensors")
	for i := 0; tensors != nil && i < tensors.Len(); i++ {
		k, v := tensors.At(i)
		name, _ := k.(string)
		t, ok := v.(*torch.Tensor)
		if !ok {
			return fmt.Errorf("entry %q: %q is no tensor", metaKey, name)
		}
		if s.Tensor(name) != nil { // of the optimizer too: files before this one kept Adam's moments twice
			continue
		}
		r, err := t.Raw(name)
		if err != nil {
			return err
		}
		s.Tensors = append(s.Tensors, r)
	}
	return nil
}

// toPth arranges a state as the reference's scripts save theirs. Tensors that they would not know, such as the
// position of MoCo's queue, go into an entry of their own, which they ignore.
func toPth(s *checkpoint.State) (*torch.Checkpoint, error) {
	c := &torch.Checkpoint{Prefix: torch.ReferencePrefix, Epoch: s.Epoch}
	velocity, moments := map[string]*torch.Tensor{}, map[string]*torch.Tensor{}
	numbers, ok, err := optimizerOf(s)
	if err != nil {
		return nil, err
	}
	rest := torch.NewDict(torch.PlainDict)
	for _, t := range s.Tensors {
		x, err := torch.FromRaw(referenceType(t))
		if err != nil {
			return nil, err
		}
		name, ok := "", false
		if numbers.Adam != nil && (strings.HasPrefix(t.Name, adamFirst) || strings.HasPrefix(t.Name, adamSecond)) {
			moments[t.Name] = x
		} else if name, ok = strings.CutPrefix(t.Name, velocityPrefix); ok {
			velocity[name] = x
		} else if name, ok = strings.CutPrefix(t.Name, momentumPrefix+torch.ReferencePrefix); ok {
			c.ModelEMA = append(c.ModelEMA, torch.Named{Name: name, Tensor: x})
		} else if name, ok = strings.CutPrefix(t.Name, classifierPrefix); ok {
			c.Classifier = append(c.Classifier, torch.Named{Name: name, Tensor: x})
		} else if name, ok = strings.CutPrefix(t.Name, bankPrefix); ok && name != queuePointer {
			c.Contrast = append(c.Contrast, torch.Named{Name: name, Tensor: x})
		} else if name, ok = strings.CutPrefix(t.Name, torch.ReferencePrefix); ok {
			c.Model = append(c.Model, torch.Named{Name: name, Tensor: x})
		} else if t.Name == "best_acc1" {
			c.BestAcc1 = x
		} else {
			rest.Set(t.Name, x)
		}
	}
	if c.Model == nil && c.Classifier == nil {
		if rest.Len() != len(s.Tensors) || rest.Len() == 0 {
			return nil, fmt.Errorf("no tensor starts with %q or %q: this is not the state of an encoder or a probe", torch.ReferencePrefix, classifierPrefix)
		}
		return nil, fmt.Errorf("its tensors, such as %q, do not start with %q: this is not the state of an encoder", s.Tensors[0].Name, torch.ReferencePrefix)
	}
	o, err := optionsTo(s)
	if err != nil {
		return nil, err
	}
	c.Options = o
	if ok || len(velocity) > 0 { // otherwise parameters only
		c.Optimizer = numbers.optimizer(c, velocity, moments)
	}
	for name := range velocity {
		return nil, fmt.Errorf("%s%s belongs to no parameter", velocityPrefix, name)
	}
	text, err := json.Marshal(cursorOf(s))
	if err != nil {
		return nil, err
	}
	entry := torch.NewDict(torch.PlainDict).Set("cursor", string(text)).Set("tensors", rest)
	c.Extra = torch.NewDict(torch.PlainDict).Set(metaKey, entry)
	return c, nil
}

// referenceType gives the two tensors that the reference has as integers their type: batch counters and MoCo's params, when
// they are whole numbers.
func referenceType(t raw.Tensor) raw.Tensor {
	counter := strings.HasSuffix(t.Name, ".num_batches_tracked")
	moco := t.Name == bankPrefix+"params" && len(t.Shape) == 1 && t.Shape[0] == 1
	if !counter && !moco || t.DType == raw.Int64 || t.Check() != nil {
		return t
	}
	v := make([]int64, t.Len())
	for i := range v {
		if v[i] = t.Int(i); float64(v[i]) != t.At(i) {
			return t // a moving Z is no whole number
		}
	}
	return raw.FromInt64(t.Name, t.Shape, v)
}

// optimizerOf is what a state says of its optimiser; ok is false when it says nothing.
func optimizerOf(s *checkpoint.State) (o pthOptimizer, ok bool, err error) {
	if text, ok := s.Meta[metaOptimizer]; ok {
		if err := json.Unmarshal(text, &o); err != nil {
			return o, false, fmt.Errorf("%s: %w", metaOptimizer, err)
		}
		return o, true, nil
	}
	if saved, err := optionsOf(s); err == nil {
		return pthOptimizer{LR: saved.Optim.Rate(max(s.Epoch, 1)), Momentum: saved.Optim.Momentum, WeightDecay: saved.Optim.WeightDecay}, true, nil
	}
	return o, false, nil
}

// optimizer takes from velocity, or for Adam from moments, what belongs to the parameters that the scripts' optimizer has.
func (n pthOptimizer) optimizer(c *torch.Checkpoint, velocity, moments map[string]*torch.Tensor) *torch.Optimizer {
	prefix, params := torch.ReferencePrefix, c.Model.Parameters()
	if c.Classifier != nil {
		prefix, params = classifierPrefix, c.Classifier.Parameters()
	}
	o := &torch.Optimizer{LR: n.LR, Momentum: n.Momentum, Dampening: n.Dampening, WeightDecay: n.WeightDecay, Nesterov: n.Nesterov}
	if a := n.Adam; a != nil {
		o.Adam = &torch.Adam{Beta1: a.Beta1, Beta2: a.Beta2, Eps: a.Eps, Steps: a.Steps}
		for _, p := range params {
			o.Adam.First, o.Adam.Second = append(o.Adam.First, moments[adamFirst+p.Name]), append(o.Adam.Second, moments[adamSecond+p.Name])
		}
		return o
	}
	for _, p := range params {
		o.Velocity = append(o.Velocity, velocity[prefix+p.Name])
		delete(velocity, prefix+p.Name)
	}
	return o
}

// optionsFrom reads an argparse.Namespace of the reference into the options of a method; names that no flag has, and
// values that a flag does not take, leave the default.
func optionsFrom(method string, opt *torch.Dict) Options {
	o := Defaults(method)
	o.read(opt)
	o.Run = Defaults(method).Run // folders and the like are of the run that wrote the file, not of its model
	return o
}

// read takes the values that an argparse.Namespace has for the flags of o's method.
func (o *Options) read(opt *torch.Dict) {
	for _, f := range flagTable() {
		if f.applies(o.Method) {
			readFlag(opt, f.value(o), append([]string{f.name}, f.aliases...))
		}
	}
}

// readFlag takes the value that an argparse.Namespace has under one of a flag's names, if the flag takes it.
func readFlag(opt *torch.Dict, field any, names []string) {
	for _, name := range names {
		v, ok := opt.Get(name)
		if !ok || v == nil {
			continue
		}
		target := valueOf(field)
		if before := target.String(); target.Set(flagText(v)) != nil {
			_ = target.Set(before) // pflag writes what it could parse, even when it fails
		}
	}
}

func flagText(v torch.Value) string {
	if l, ok := v.(*torch.List); ok {
		parts := make([]string, len(l.Items))
		for i, item := range l.Items {
			parts[i] = fmt.Sprint(item)
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(v)
}

// optionsTo is the opt that the reference's scripts would have saved: flag names to values, plus the method of its
// loss. Options that came from a .pth are given back as they were.
func optionsTo(s *checkpoint.State) (*torch.Dict, error) {
	opt := torch.NewDict(torch.Namespace)
	fields, err := optOf(s)
	if err != nil {
		return nil, err
	}
	if fields != nil {
		for i := range fields.Len() {
			opt.Set(fields.At(i))
		}
		return opt, nil
	}
	if _, ok := s.Meta[metaOptions]; !ok {
		return nil, nil
	}
	o, err := optionsOf(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", metaOptions, err)
	}
	opt.Set("method", map[bool]string{true: "softmax", false: "nce"}[o.Loss.Softmax])
	for _, f := range flagTable() {
		if !f.applies(o.Method) {
			continue
		}
		switch p := f.value(&o).(type) {
		case *string:
			opt.Set(f.name, *p)
		case *int:
			opt.Set(f.name, int64(*p))
		case *float64:
			opt.Set(f.name, *p)
		case *bool:
			opt.Set(f.name, *p)
		case *intList:
			l := &torch.List{}
			for _, v := range *p {
				l.Items = append(l.Items, int64(v))
			}
			opt.Set(f.name, l)
		case *floatList:
			l := &torch.List{}
			for _, v := range *p {
				l.Items = append(l.Items, v)
			}
			opt.Set(f.name, l)
		default:
			return nil, fmt.Errorf("--%s has a type that no .pth can hold: %T", f.name, p)
		}
	}
	return opt, nil
}
