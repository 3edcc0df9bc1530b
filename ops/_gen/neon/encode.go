package neon

import (
	"fmt"
	"strconv"
	"strings"
)

// form says how the size of the elements is encoded.
type form int

const (
	integer form = iota // two bits, 0 being bytes
	float               // one bit, 1 being doubles
	fixed               // not at all
	right               // with a shift to the right
	left                // with a shift to the left
)

type instruction struct {
	bits uint32
	form form
}

// What is widened or narrowed is encoded by its narrow side. Instructions that take the upper half of it end in 2.
var instructions = map[string]instruction{
	"VMUL": {0x0e209c00, integer}, "VMLA": {0x0e209400, integer}, "VBIC": {0x0e601c00, fixed}, "VORN": {0x0ee01c00, fixed}, "VUADALP": {0x2e206800, integer},
	"VSMULL": {0x0e20c000, integer}, "VUMULL": {0x2e20c000, integer}, "VSMLAL": {0x0e208000, integer}, "VUMLAL": {0x2e208000, integer},
	"VUSUBL": {0x2e202000, integer}, "VADDHN": {0x0e204000, integer}, "VSUBHN": {0x0e206000, integer},
	"VXTN": {0x0e212800, integer}, "VSQXTUN": {0x2e212800, integer}, "VUQXTN": {0x2e214800, integer},
	"VFADD": {0x0e20d400, float}, "VFSUB": {0x0ea0d400, float}, "VFMUL": {0x2e20dc00, float}, "VFDIV": {0x2e20fc00, float},
	"VFMAX": {0x0e20f400, float}, "VFCMGT": {0x2ea0e400, float}, "VFCMEQ": {0x0e20e400, float}, "VSCVTF": {0x0e21d800, float}, "VFCVTZS": {0x0ea1b800, float},
	"VFCVTAS": {0x0e21c800, float}, "VFRINTM": {0x0e219800, float}, "VFCVTL": {0x0e617800, fixed}, "VFCVTN": {0x0e616800, fixed},
	"VSSHR": {0x0f000400, right}, "VSRSRA": {0x0f003400, right}, "VSHRN": {0x0f008400, right}, "VRSHRN": {0x0f008c00, right},
	"VSQSHRN": {0x0f009400, right}, "VSQSHRUN": {0x2f008400, right}, "VUQSHRN": {0x2f009400, right}, "VSSHLL": {0x0f00a400, left}, "VSXTL": {0x0f00a400, left},
}

// byElement are those with a single element as the first operand.
var byElement = map[string]instruction{
	"VSMULL": {0x0f00a000, integer}, "VUMULL": {0x2f00a000, integer}, "VSMLAL": {0x0f002000, integer}, "VUMLAL": {0x2f002000, integer},
	"VSQDMULH": {0x0f00c000, integer}, "VFMUL": {0x0f809000, float}, "VFMLA": {0x0f801000, float},
}

// Line is a line of assembly that Go understands.
func Line(line string) string {
	if !strings.HasPrefix(line, "\tV") {
		return line
	}
	name, rest, _ := strings.Cut(line[1:], " ")
	operands := strings.Split(rest, ", ")
	known, upper := strings.CutSuffix(name, "2")
	table := instructions
	if strings.Contains(operands[0], "[") {
		table = byElement
	}
	in, ok := table[known]
	if !ok {
		return line
	}
	return fmt.Sprintf("\tWORD $%#08x // %s", encode(in, upper, operands), line[1:])
}

func encode(in instruction, upper bool, operands []string) uint32 {
	word, shift := in.bits, 0
	if s, ok := strings.CutPrefix(operands[0], "$"); ok {
		shift, operands = number(s), operands[1:]
	}
	narrow, full := 3, false
	for i, o := range operands {
		register, arrangement, _ := strings.Cut(o, ".")
		at := uint32(number(register[1:]))
		if kind, index, ok := strings.Cut(arrangement, "["); ok {
			word |= element(kind, at, index)
			continue
		}
		if size := strings.Index("BHSD", arrangement[:1]); size <= narrow {
			narrow, full = size, 8<<size*number(arrangement[1:]) == 128
		}
		word |= at << []int{0, 5, 16}[len(operands)-1-i]
	}
	if full {
		word |= 1 << 30
	} else if upper {
		panic("neon: not an upper half: " + strings.Join(operands, ", "))
	}
	switch width := 8 << narrow; in.form {
	case integer:
		word |= uint32(narrow) << 22
	case float:
		word |= uint32(narrow&1) << 22
	case right:
		word |= uint32(2*width-shift) << 16
	case left:
		word |= uint32(width+shift) << 16
	}
	return word
}

// element is where an instruction keeps a register and the index of one of its elements.
func element(kind string, register uint32, index string) uint32 {
	i := uint32(number(strings.TrimSuffix(index, "]")))
	if kind == "S" {
		return register<<16 | i>>1<<11 | i&1<<21
	}
	if register > 15 {
		panic("neon: elements of 16 bits are in the lower 16 registers")
	}
	return register<<16 | i>>2<<11 | i>>1&1<<21 | i&1<<20
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic("neon: " + err.Error())
	}
	return n
}
