package torch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"unicode/utf8"

	"github.com/contraflow/contraflow/io/raw"
)

// pickler writes protocol 2, with only those opcodes that torch's weights_only unpickler knows.
type pickler struct {
	bytes.Buffer
	plain   bool // write a Namespace as a dict
	tensors []*Tensor
	keys    map[*Tensor]int // storage keys; one tensor used twice shares its storage
	depth   int
}

func (p *pickler) value(v Value) error {
	if p.depth++; p.depth > maxDepth {
		return fmt.Errorf("more than %d levels of nesting, or a cycle", maxDepth)
	}
	defer func() { p.depth-- }()
	switch v := v.(type) {
	case nil:
		p.WriteByte('N')
	case bool:
		if v {
			p.WriteByte(0x88)
		} else {
			p.WriteByte(0x89)
		}
	case int64:
		p.int(v)
	case *big.Int:
		if v.BitLen() > 8*254 {
			return fmt.Errorf("an integer of %d bits", v.BitLen())
		}
		p.long(v)
	case float64:
		p.WriteByte('G')
		p.Write(binary.BigEndian.AppendUint64(nil, math.Float64bits(v)))
	case NumPy:
		return p.value(v.Value)
	case string:
		p.string(v)
	case raw.DType:
		p.global("torch", v.String())
	case Tuple:
		return p.tuple(v)
	case *List:
		p.WriteString("](")
		for _, item := range v.Items {
			if err := p.value(item); err != nil {
				return err
			}
		}
		p.WriteByte('e')
	case *Dict:
		return p.dict(v)
	case *Tensor:
		p.tensor(v)
	default:
		return fmt.Errorf("a %T cannot be written", v)
	}
	return nil
}

func (p *pickler) int(v int64) {
	switch {
	case v >= 0 && v < 1<<8:
		p.Write([]byte{'K', byte(v)})
	case v >= 0 && v < 1<<16:
		p.Write([]byte{'M', byte(v), byte(v >> 8)})
	case v == int64(int32(v)):
		p.WriteByte('J')
		p.Write(binary.LittleEndian.AppendUint32(nil, uint32(v)))
	default:
		p.Write([]byte{0x8a, 8})
		p.Write(binary.LittleEndian.AppendUint64(nil, uint64(v)))
	}
}

// long writes LONG1: little-endian two's complement, at most 255 bytes.
func (p *pickler) long(v *big.Int) {
	n := v.BitLen()/8 + 1
	mod := new(big.Int).Lsh(big.NewInt(1), uint(8*n))
	be := new(big.Int).Mod(v, mod).FillBytes(make([]byte, n))
	p.Write([]byte{0x8a, byte(n)})
	for i := n - 1; i >= 0; i-- {
		p.WriteByte(be[i])
	}
}

// string writes a str. Bytes of a Python 2 file that are no UTF-8 are taken as Latin-1, as torch.load(encoding="latin1") does.
func (p *pickler) string(s string) {
	if !utf8.ValidString(s) {
		r := make([]rune, len(s))
		for i := range r {
			r[i] = rune(s[i])
		}
		s = string(r)
	}
	p.WriteByte('X')
	p.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(s))))
	p.WriteString(s)
}

func (p *pickler) global(module, name string) {
	p.WriteString("c" + module + "\n" + name + "\n")
}

func (p *pickler) tuple(t Tuple) error {
	p.WriteByte('(')
	for _, item := range t {
		if err := p.value(item); err != nil {
			return err
		}
	}
	p.WriteByte('t')
	return nil
}

func (p *pickler) dict(d *Dict) error {
	class := d.Class
	if class == Namespace && p.plain {
		class = PlainDict
	}
	switch class {
	case PlainDict:
		p.WriteByte('}')
		return p.items(d)
	case OrderedDict:
		p.global("collections", "OrderedDict")
		p.WriteString(")R")
		if err := p.items(d); err != nil || d.Attrs == nil {
			return err
		}
		if err := p.value(d.Attrs); err != nil {
			return err
		}
	case Namespace:
		p.global("argparse", "Namespace")
		p.WriteString(")\x81}")
		if err := p.items(d); err != nil {
			return err
		}
	}
	p.WriteByte('b')
	return nil
}

func (p *pickler) items(d *Dict) error {
	p.WriteByte('(')
	for i := range d.Len() {
		k, v := d.At(i)
		if err := p.value(k); err != nil {
			return err
		}
		if err := p.value(v); err != nil {
			return fmt.Errorf("%v: %w", k, err)
		}
	}
	p.WriteByte('u')
	return nil
}

// tensor writes torch._utils._rebuild_tensor_v2(storage, 0, shape, row-major strides, False, OrderedDict()).
func (p *pickler) tensor(t *Tensor) {
	key, ok := p.keys[t]
	if !ok {
		key = len(p.tensors)
		p.keys[t] = key
		p.tensors = append(p.tensors, t)
	}
	p.global("torch._utils", "_rebuild_tensor_v2")
	p.WriteString("((")
	p.string("storage")
	for g, d := range storageTypes {
		if d == t.DType {
			p.global("torch", string(g[len("torch."):]))
		}
	}
	p.string(strconv.Itoa(key))
	p.string("cpu")
	p.int(int64(t.Len()))
	p.WriteString("tQK\x00(")
	for _, n := range t.Shape {
		p.int(int64(n))
	}
	p.WriteString("t(")
	strides := make([]int, len(t.Shape))
	step := 1
	for i := len(strides) - 1; i >= 0; i-- {
		strides[i] = step
		step *= max(t.Shape[i], 1)
	}
	for _, n := range strides {
		p.int(int64(n))
	}
	p.WriteString("t\x89")
	p.global("collections", "OrderedDict")
	p.WriteString(")RtR")
}
