package torch

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/contraflow/contraflow/io/raw"
)

// The globals a checkpoint may name. Each is a case in reduce, newObject or build below; none of them reaches
// anything but the values it is given. A name that is missing here is refused when the pickle mentions it, before
// it can be called.
var allowed = map[global]bool{
	"collections.OrderedDict": true,
	"collections.defaultdict": true,
	"argparse.Namespace":      true,
	"_codecs.encode":          true, // how protocol 2 spells bytes

	"builtins.dict": true, "__builtin__.dict": true, // the factories of defaultdict
	"builtins.list": true, "__builtin__.list": true,

	"numpy.core.multiarray.scalar":  true,
	"numpy._core.multiarray.scalar": true,
	"numpy.dtype":                   true,

	"torch.Size":                      true,
	"torch.device":                    true,
	"torch._utils._rebuild_tensor":    true,
	"torch._utils._rebuild_tensor_v2": true,
	"torch._utils._rebuild_parameter": true,
	"torch.nn.parameter.Parameter":    true,
}

// storageTypes are the globals of persistent ids.
var storageTypes = map[global]raw.DType{
	"torch.FloatStorage": raw.Float32, "torch.DoubleStorage": raw.Float64, "torch.HalfStorage": raw.Float16,
	"torch.BFloat16Storage": raw.BFloat16, "torch.LongStorage": raw.Int64, "torch.IntStorage": raw.Int32,
	"torch.ShortStorage": raw.Int16, "torch.CharStorage": raw.Int8, "torch.ByteStorage": raw.Uint8, "torch.BoolStorage": raw.Bool,
}

// numpyKinds are the dtype strings of NumPy scalars.
var numpyKinds = map[string]raw.DType{
	"f8": raw.Float64, "f4": raw.Float32, "f2": raw.Float16, "i8": raw.Int64, "i4": raw.Int32, "i2": raw.Int16,
	"i1": raw.Int8, "u1": raw.Uint8, "b1": raw.Bool,
}

// numpyType is a numpy.dtype before it is used by a scalar.
type numpyType struct {
	kind raw.DType
	big  bool
}

// RefusedError says which global a pickle wanted.
type RefusedError struct{ Global string }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("pickle asks for %q, which is not among the classes of a checkpoint: refused, nothing was run. "+
		"If you trust the file, load it in PyTorch and save its state_dict", e.Global)
}

func (m *machine) global(module, name string) (Value, error) {
	g := global(module + "." + name)
	if allowed[g] || storageTypes[g] != 0 {
		return g, nil
	}
	if strings.HasPrefix(string(g), "torch.") {
		if d, err := raw.Parse(strings.TrimPrefix(string(g), "torch.")); err == nil {
			return d, nil
		}
	}
	return nil, &RefusedError{Global: string(g)}
}

// object runs the opcodes that name or make something other than a built-in container.
func (m *machine) object(op byte) error {
	switch op {
	case 'c', 'i': // GLOBAL, INST: module and name as two lines
		module, err := m.line()
		if err != nil {
			return err
		}
		name, err := m.line()
		if err != nil {
			return err
		}
		g, err := m.global(module, name)
		if err != nil {
			return err
		}
		if op == 'i' {
			return fmt.Errorf("pickle makes a %v by opcode INST, which no torch.save writes: refused", g)
		}
		return m.push(g, costScalar)
	case 0x93: // STACK_GLOBAL
		name, err := m.pop()
		if err != nil {
			return err
		}
		module, err := m.pop()
		if err != nil {
			return err
		}
		mod, ok1 := module.(string)
		nam, ok2 := name.(string)
		if !ok1 || !ok2 {
			return fmt.Errorf("pickle names a global by a %T and a %T", module, name)
		}
		g, err := m.global(mod, nam)
		if err != nil {
			return err
		}
		return m.push(g, costScalar)
	case 'Q': // BINPERSID
		id, err := m.pop()
		if err != nil {
			return err
		}
		t, ok := id.(Tuple)
		if !ok {
			return fmt.Errorf("pickle has a persistent id of type %T, expected the tuple of a storage", id)
		}
		v, err := m.persist(t)
		if err != nil {
			return err
		}
		return m.push(v, costObject)
	case 'R', 0x81: // REDUCE, NEWOBJ
		args, err := m.pop()
		if err != nil {
			return err
		}
		f, err := m.pop()
		if err != nil {
			return err
		}
		t, ok := args.(Tuple)
		g, isGlobal := f.(global)
		if !ok || !isGlobal {
			return fmt.Errorf("pickle calls a %T with a %T: refused", f, args)
		}
		v, err := m.reduce(g, t)
		if err != nil {
			return fmt.Errorf("%s: %w", g, err)
		}
		return m.push(v, costObject)
	case 'b': // BUILD
		return m.build()
	}
	return fmt.Errorf("pickle opcode 0x%02x makes objects of any class: refused", op)
}

// reduce is what calling an allowed global returns.
func (m *machine) reduce(g global, args Tuple) (Value, error) {
	switch g {
	case "argparse.Namespace", "collections.OrderedDict", "collections.defaultdict":
		return m.mapping(g, args)
	case "_codecs.encode":
		if s, ok := arg[string](args, 0); ok {
			if e, ok := arg[string](args, 1); ok && (e == "latin1" || e == "latin-1") {
				if err := m.charge(len(s)); err != nil {
					return nil, err
				}
				return latin1(s)
			}
		}
	case "numpy.dtype":
		if s, ok := arg[string](args, 0); ok {
			if k, ok := numpyKinds[strings.TrimLeft(s, "<=|")]; ok {
				return &numpyType{kind: k}, nil
			}
			return nil, fmt.Errorf("scalar type %.20q is not supported", s)
		}
	case "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar":
		return numpyScalar(args)
	case "torch.Size":
		if t, ok := arg[Tuple](args, 0); ok && len(args) == 1 {
			return t, nil
		}
	case "torch.device":
		if s, ok := arg[string](args, 0); ok {
			if i, ok := arg[int64](args, 1); ok && len(s) < 100 {
				return fmt.Sprintf("%s:%d", s, i), m.charge(len(s))
			}
			return s, nil
		}
	case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2":
		return rebuildTensor(args)
	case "torch._utils._rebuild_parameter", "torch.nn.parameter.Parameter":
		if t, ok := arg[*Tensor](args, 0); ok {
			return t, nil
		}
	}
	return nil, fmt.Errorf("%d arguments that do not fit: the file is damaged or was not written by PyTorch", len(args))
}

func (m *machine) mapping(g global, args Tuple) (Value, error) {
	if g == "collections.defaultdict" {
		if len(args) > 1 {
			return nil, fmt.Errorf("%d arguments, expected at most a factory", len(args))
		}
		return NewDict(PlainDict), nil
	}
	if g == "argparse.Namespace" {
		if len(args) != 0 {
			return nil, fmt.Errorf("%d arguments, expected none", len(args))
		}
		return NewDict(Namespace), nil
	}
	d := NewDict(OrderedDict)
	if len(args) == 0 {
		return d, nil
	}
	pairs, ok := arg[*List](args, 0) // Python 2 passes [[key, value], …]
	if !ok || len(args) != 1 {
		return nil, fmt.Errorf("%d arguments, expected none or a list of pairs", len(args))
	}
	for _, p := range pairs.Items {
		var kv []Value
		switch p := p.(type) {
		case *List:
			kv = p.Items
		case Tuple:
			kv = p
		}
		if len(kv) != 2 {
			return nil, fmt.Errorf("an item that is no pair")
		}
		if err := m.setItems(d, kv); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// build is BUILD: the state of an object made by NEWOBJ or REDUCE.
func (m *machine) build() error {
	state, err := m.pop()
	if err != nil {
		return err
	}
	target, err := m.top()
	if err != nil {
		return err
	}
	switch x := target.(type) {
	case *Dict:
		fields, ok := state.(*Dict)
		switch {
		case !ok || fields == x:
		case x.Class == Namespace:
			for i := range fields.keys {
				if err := m.setItems(x, []Value{fields.keys[i], fields.values[i]}); err != nil {
					return err
				}
			}
			return nil
		case x.Class == OrderedDict:
			x.Attrs = fields
			return nil
		}
	case *numpyType: // (3, '<', None, None, None, -1, -1, 0)
		if t, ok := state.(Tuple); ok {
			order, ok := arg[string](t, 1)
			x.big = order == ">"
			if ok && strings.Contains("<>=|", order) && len(order) == 1 {
				return nil
			}
		}
	}
	return fmt.Errorf("pickle sets the state of a %T to a %T: refused", target, state)
}

func arg[T any](args Tuple, i int) (v T, ok bool) {
	if i < len(args) {
		v, ok = args[i].(T)
	}
	return v, ok
}

// latin1 turns code points below 256 into bytes.
func latin1(s string) (Value, error) {
	b := make([]byte, 0, utf8.RuneCountInString(s))
	for _, r := range s {
		if r > 0xff {
			return nil, fmt.Errorf("U+%04X is not in latin1", r)
		}
		b = append(b, byte(r))
	}
	return b, nil
}

func numpyScalar(args Tuple) (Value, error) {
	d, ok := arg[*numpyType](args, 0)
	if !ok || len(args) != 2 {
		return nil, fmt.Errorf("%d arguments, expected a numeric type and bytes", len(args))
	}
	text, ok := args[1].(string) // Python 2
	if b, isBytes := args[1].([]byte); isBytes {
		text, ok = string(b[:min(len(b), 16)]), true
	}
	if !ok || len(text) != d.kind.Size() {
		return nil, fmt.Errorf("%d bytes for a %v", len(text), d.kind)
	}
	b := []byte(text)
	if d.big {
		for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
			b[i], b[j] = b[j], b[i]
		}
	}
	t := raw.Tensor{DType: d.kind, Data: b}
	switch {
	case d.kind.Float():
		f := t.At(0)
		if math.IsNaN(f) {
			f = math.NaN()
		}
		return NumPy{d.kind, f}, nil
	case d.kind == raw.Bool:
		return NumPy{d.kind, b[0] != 0}, nil
	}
	return NumPy{d.kind, t.Int(0)}, nil
}
