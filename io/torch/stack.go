package torch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

var (
	errStack = errors.New("pickle takes more from its stack than it put there")
	errShort = errors.New("pickle ends in the middle: the file is truncated")
)

func (m *machine) charge(n int) error {
	if m.budget -= n; m.budget < 0 {
		return fmt.Errorf("pickle builds more than %d MiB of objects: not a checkpoint", maxBudget>>20)
	}
	return nil
}

// push puts v on the stack and charges what it costs beyond its slot.
func (m *machine) push(v Value, cost int) error {
	m.stack = append(m.stack, v)
	return m.charge(16 + cost)
}

// floor is where the current mark's part of the stack starts.
func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

func (m *machine) top() (Value, error) {
	if len(m.stack) <= m.floor() {
		return nil, errStack
	}
	return m.stack[len(m.stack)-1], nil
}

func (m *machine) pop() (Value, error) {
	v, err := m.top()
	if err == nil {
		m.stack = m.stack[:len(m.stack)-1]
	}
	return v, err
}

// popMark takes everything above the last mark. The slice is valid until the next push.
func (m *machine) popMark() ([]Value, error) {
	if len(m.marks) == 0 {
		return nil, errStack
	}
	at := m.floor()
	m.marks = m.marks[:len(m.marks)-1]
	items := m.stack[at:]
	m.stack = m.stack[:at]
	return items, nil
}

func (m *machine) byte() (byte, error) {
	if m.left <= 0 {
		return 0, errShort
	}
	b, err := m.r.ReadByte()
	if err == io.EOF {
		err = errShort
	}
	m.left--
	return b, err
}

// bytes reads n bytes that the file must have and the budget must allow before they are allocated.
func (m *machine) bytes(n uint64) ([]byte, error) {
	if int64(n) < 0 || int64(n) > m.left {
		return nil, fmt.Errorf("pickle announces %d bytes where the file has %d: it is truncated or damaged", n, m.left)
	}
	if n > maxBudget {
		return nil, m.charge(maxBudget + 1)
	}
	if err := m.charge(int(n) + costScalar); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(m.r, b); err != nil {
		return nil, errShort
	}
	m.left -= int64(n)
	return b, nil
}

// uint reads a little-endian integer of 1, 2, 4 or 8 bytes.
func (m *machine) uint(size int) (uint64, error) {
	var b [8]byte
	for i := range size {
		c, err := m.byte()
		if err != nil {
			return 0, err
		}
		b[i] = c
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// counted reads bytes behind their length.
func (m *machine) counted(size int) ([]byte, error) {
	n, err := m.uint(size)
	if err != nil {
		return nil, err
	}
	return m.bytes(n)
}

// line reads a text argument up to its newline.
func (m *machine) line() (string, error) {
	var b strings.Builder
	for {
		c, err := m.byte()
		if err != nil {
			return "", err
		}
		if c == '\n' {
			return b.String(), m.charge(b.Len())
		}
		if b.Len() >= maxLine {
			return "", fmt.Errorf("pickle has a line longer than %d bytes", maxLine)
		}
		b.WriteByte(c)
	}
}
