package torch

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of what one file may build. Checkpoints of the largest encoders here stay below 2 % of them.
const (
	maxBudget = 64 << 20 // bytes charged for objects and strings
	maxLine   = 1 << 12  // longest text argument: a module or class name, a decimal number
	maxLong   = 256      // bytes of the largest integer
	maxDepth  = 64       // levels of nesting
	maxVisits = 1 << 20  // values in the tree, shared ones counted each time

	costScalar = 32 // what one object is charged, about what Go needs for it
	costObject = 192
)

// machine is the pickle machine: a stack, marks into it, and a memo.
type machine struct {
	r      *bufio.Reader
	left   int64 // bytes that r still has
	budget int

	stack   []Value
	marks   []int
	memo    map[uint32]Value
	persist func(id Tuple) (Value, error) // answers BINPERSID
}

// global is a name on the allow list, on its way to REDUCE, NEWOBJ or a persistent id.
type global string

func newMachine(r io.Reader, size int64, persist func(Tuple) (Value, error)) *machine {
	return &machine{r: bufio.NewReaderSize(r, 1<<16), left: size, budget: maxBudget, persist: persist}
}

// load runs one pickle up to its STOP. The budget is shared by all loads of a machine.
func (m *machine) load() (Value, error) {
	m.stack, m.marks, m.memo = m.stack[:0], m.marks[:0], make(map[uint32]Value)
	for {
		op, err := m.byte()
		if err != nil {
			return nil, err
		}
		if op == '.' {
			v, err := m.pop()
			if err != nil {
				return nil, err
			}
			return v, nil
		}
		if err := m.step(op); err != nil {
			return nil, err
		}
	}
}

func (m *machine) step(op byte) error {
	switch op {
	case 0x80: // PROTO
		v, err := m.byte()
		if err == nil && v > 5 {
			err = fmt.Errorf("pickle protocol %d is newer than 5", v)
		}
		return err
	case 0x95: // FRAME: a hint about buffering
		_, err := m.uint(8)
		return err
	case '(': // MARK
		if len(m.marks) >= 1<<16 {
			return fmt.Errorf("pickle nests deeper than anything real")
		}
		m.marks = append(m.marks, len(m.stack))
		return nil
	case '0': // POP
		_, err := m.pop()
		return err
	case '1': // POP_MARK
		_, err := m.popMark()
		return err
	case '2': // DUP
		v, err := m.top()
		if err != nil {
			return err
		}
		return m.push(v, 0)
	case 'N':
		return m.push(nil, 0)
	case 0x88:
		return m.push(true, 0)
	case 0x89:
		return m.push(false, 0)
	case 'K', 'M', 'J', 'I', 'L', 0x8a, 0x8b, 'G', 'F':
		return m.number(op)
	case 'X', 0x8c, 0x8d, 'V', 'U', 'T', 'S', 'C', 'B', 0x8e:
		return m.text(op)
	case ']', '}', ')', 'l', 'd', 't', 0x85, 0x86, 0x87, 'a', 'e', 's', 'u':
		return m.container(op)
	case 'q', 'r', 'p', 0x94, 'h', 'j', 'g':
		return m.memoOp(op)
	case 'c', 0x93, 'R', 0x81, 'b', 'Q', 'i', 'o':
		return m.object(op)
	}
	return fmt.Errorf("pickle opcode 0x%02x is not one that a checkpoint needs", op)
}

func (m *machine) number(op byte) error {
	switch op {
	case 'K', 'M', 'J': // BININT1, BININT2, BININT
		u, err := m.uint(map[byte]int{'K': 1, 'M': 2, 'J': 4}[op])
		if err != nil {
			return err
		}
		if op == 'J' {
			return m.push(int64(int32(u)), costScalar)
		}
		return m.push(int64(u), costScalar)
	case 'I', 'L': // INT, LONG: decimal text
		s, err := m.line()
		if err != nil {
			return err
		}
		if op == 'I' && (s == "00" || s == "01") {
			return m.push(s == "01", 0)
		}
		n, ok := new(big.Int).SetString(strings.TrimSuffix(s, "L"), 10)
		if !ok || len(s) > 2*maxLong {
			return fmt.Errorf("pickle has %.40q where an integer belongs", s)
		}
		return m.pushBig(n)
	case 0x8a, 0x8b: // LONG1, LONG4: little-endian two's complement
		n, err := m.uint(map[byte]int{0x8a: 1, 0x8b: 4}[op])
		if err != nil {
			return err
		}
		if n > maxLong {
			return fmt.Errorf("pickle has an integer of %d bytes", n)
		}
		b, err := m.bytes(n)
		if err != nil {
			return err
		}
		return m.pushBig(decodeLong(b))
	case 'G': // BINFLOAT, big-endian
		b, err := m.bytes(8)
		if err != nil {
			return err
		}
		return m.push(math.Float64frombits(binary.BigEndian.Uint64(b)), costScalar)
	}
	s, err := m.line() // FLOAT
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return fmt.Errorf("pickle has %.40q where a float belongs", s)
	}
	return m.push(f, costScalar)
}

// decodeLong reads little-endian two's complement.
func decodeLong(b []byte) *big.Int {
	be := make([]byte, len(b))
	for i, c := range b {
		be[len(b)-1-i] = c
	}
	n := new(big.Int).SetBytes(be)
	if len(be) > 0 && be[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(be))))
	}
	return n
}

func (m *machine) pushBig(n *big.Int) error {
	if n.IsInt64() {
		return m.push(n.Int64(), costScalar)
	}
	return m.push(n, costObject)
}

func (m *machine) text(op byte) error {
	var b []byte
	var err error
	switch op {
	case 'V', 'S': // UNICODE, STRING: protocol 0, written by no torch.save; only plain text is taken
		s, err := m.line()
		if err != nil {
			return err
		}
		if op == 'S' {
			if len(s) < 2 || s[0] != s[len(s)-1] || (s[0] != '\'' && s[0] != '"') {
				return fmt.Errorf("pickle has %.40q where a quoted string belongs", s)
			}
			s = s[1 : len(s)-1]
		}
		if strings.ContainsRune(s, '\\') || !utf8.ValidString(s) {
			return fmt.Errorf("pickle has %.40q where plain text belongs", s)
		}
		return m.push(s, costScalar+len(s))
	case 'U', 0x8c, 'C': // one byte of length
		b, err = m.counted(1)
	case 'X', 'T', 'B':
		b, err = m.counted(4)
	case 0x8d, 0x8e:
		b, err = m.counted(8)
	}
	if err != nil {
		return err
	}
	switch op {
	case 'C', 'B', 0x8e: // bytes
		return m.push(b, 0)
	case 'X', 0x8c, 0x8d: // str
		if !utf8.Valid(b) {
			return fmt.Errorf("pickle has a string that is not UTF-8: %.40q", b)
		}
	}
	return m.push(string(b), costScalar) // 'U', 'T': str of Python 2, any bytes
}

func (m *machine) container(op byte) error {
	switch op {
	case ']':
		return m.push(&List{}, costObject)
	case '}':
		return m.push(NewDict(PlainDict), costObject)
	case ')':
		return m.push(Tuple{}, costScalar)
	case 0x85, 0x86, 0x87: // TUPLE1 … TUPLE3
		n := int(op) - 0x84
		if len(m.stack)-m.floor() < n {
			return errStack
		}
		t := append(Tuple(nil), m.stack[len(m.stack)-n:]...)
		m.stack = m.stack[:len(m.stack)-n]
		return m.push(t, costScalar*(1+n))
	case 't', 'l', 'd':
		items, err := m.popMark()
		if err != nil {
			return err
		}
		switch op {
		case 't':
			return m.push(append(Tuple(nil), items...), costScalar*(1+len(items)))
		case 'l':
			return m.push(&List{Items: append([]Value(nil), items...)}, costObject+costScalar*len(items))
		}
		d := NewDict(PlainDict)
		if err := m.setItems(d, items); err != nil {
			return err
		}
		return m.push(d, costObject)
	}
	items, err := m.operands(op)
	if err != nil {
		return err
	}
	target, err := m.top()
	if err != nil {
		return err
	}
	if op == 'a' || op == 'e' {
		l, ok := target.(*List)
		if !ok {
			return fmt.Errorf("pickle appends to a %T", target)
		}
		l.Items = append(l.Items, items...)
		return m.charge(costScalar * len(items))
	}
	d, ok := target.(*Dict)
	if !ok {
		return fmt.Errorf("pickle sets an item of a %T", target)
	}
	return m.setItems(d, items)
}

// operands takes what APPEND, APPENDS, SETITEM or SETITEMS add. The slice is valid until the next push.
func (m *machine) operands(op byte) ([]Value, error) {
	if op == 'e' || op == 'u' {
		return m.popMark()
	}
	n := map[byte]int{'a': 1, 's': 2}[op]
	if len(m.stack)-m.floor() < n {
		return nil, errStack
	}
	items := m.stack[len(m.stack)-n:]
	m.stack = m.stack[:len(m.stack)-n]
	return items, nil
}

func (m *machine) setItems(d *Dict, items []Value) error {
	if len(items)%2 != 0 {
		return fmt.Errorf("pickle gives a dict a key without a value")
	}
	for i := 0; i < len(items); i += 2 {
		if err := d.set(items[i], items[i+1]); err != nil {
			return err
		}
	}
	return m.charge(costObject * len(items) / 2)
}

func (m *machine) memoOp(op byte) error {
	var key uint64
	var err error
	switch op {
	case 'q', 'h':
		key, err = m.uint(1)
	case 'r', 'j':
		key, err = m.uint(4)
	case 'p', 'g':
		var s string
		if s, err = m.line(); err == nil {
			key, err = strconv.ParseUint(s, 10, 32)
		}
	case 0x94: // MEMOIZE
		key = uint64(len(m.memo))
	}
	if err != nil {
		return err
	}
	if op == 'h' || op == 'j' || op == 'g' {
		v, ok := m.memo[uint32(key)]
		if !ok {
			return fmt.Errorf("pickle asks for memo %d before it is set", key)
		}
		return m.push(v, 0)
	}
	v, err := m.top()
	if err != nil {
		return err
	}
	m.memo[uint32(key)] = v
	return m.charge(costScalar)
}
