package torch

import (
	"fmt"

	"github.com/contraflow/contraflow/io/raw"
)

// Value is a Python object of a checkpoint. It is one of
//
//	nil, bool, int64, float64, string, []byte
//	*big.Int      an int beyond 64 bits
//	Tuple, *List
//	*Dict         a dict, an OrderedDict or an argparse.Namespace
//	*Tensor       a tensor or an nn.Parameter
//	NumPy         a NumPy scalar
//	raw.DType     torch.float32 and its like
type Value any

// Tuple is a Python tuple or a torch.Size.
type Tuple []Value

// List is a Python list. It is shared when two places of the file refer to one list.
type List struct{ Items []Value }

// NumPy is a NumPy scalar: Value is a float64, an int64 or a bool.
type NumPy struct {
	DType raw.DType
	Value Value
}

// Class is the Python class of a [Dict].
type Class uint8

// The classes a Dict can have.
const (
	PlainDict   Class = iota // dict, defaultdict
	OrderedDict              // collections.OrderedDict: state dicts
	Namespace                // argparse.Namespace: the opt of the training scripts
)

// String is the class's name in Python.
func (c Class) String() string {
	return [...]string{"dict", "collections.OrderedDict", "argparse.Namespace"}[c]
}

// Dict is an ordered mapping. Keys are strings, int64, float64, bool or nil; those of a Namespace are strings.
type Dict struct {
	Class Class
	Attrs *Dict // attributes of an OrderedDict, such as a state dict's _metadata; nil without

	keys   []Value
	values []Value
	index  map[Value]int
}

// NewDict makes an empty mapping.
func NewDict(c Class) *Dict { return &Dict{Class: c} }

// Len is the number of entries.
func (d *Dict) Len() int { return len(d.keys) }

// At is entry i in insertion order.
func (d *Dict) At(i int) (key, value Value) { return d.keys[i], d.values[i] }

// Get finds the value of a key.
func (d *Dict) Get(key Value) (Value, bool) {
	if d == nil {
		return nil, false
	}
	if i, ok := d.index[key]; ok {
		return d.values[i], true
	}
	return nil, false
}

// Set adds or replaces an entry and returns d. A key of another type than Dict documents panics.
func (d *Dict) Set(key, value Value) *Dict {
	if err := d.set(key, value); err != nil {
		panic("torch: " + err.Error())
	}
	return d
}

func (d *Dict) set(key, value Value) error {
	switch key.(type) {
	case nil, bool, int64, float64, string:
	default:
		return fmt.Errorf("a %s key of Go type %T: expected a string or a number", d.Class, key)
	}
	if _, ok := key.(string); d.Class == Namespace && !ok {
		return fmt.Errorf("a field of an argparse.Namespace is a %T, expected a string", key)
	}
	if i, ok := d.index[key]; ok {
		d.values[i] = value
		return nil
	}
	if d.index == nil {
		d.index = make(map[Value]int)
	}
	d.index[key] = len(d.keys)
	d.keys = append(d.keys, key)
	d.values = append(d.values, value)
	return nil
}

// Dict finds a nested mapping, or nil.
func (d *Dict) Dict(key Value) *Dict {
	v, _ := d.Get(key)
	sub, _ := v.(*Dict)
	return sub
}

// Float is v as a number: a float, an int, a bool or a NumPy scalar.
func Float(v Value) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case NumPy:
		return Float(v.Value)
	}
	return 0, false
}

// Int is v as an integer: an int, a bool, or a NumPy integer.
func Int(v Value) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case NumPy:
		return Int(v.Value)
	}
	return 0, false
}
