package main

import (
	"fmt"
	"strings"
)

// line writes lines of a transform, which are AVX2's and name registers alone.
func (a arm) line(text string) {
	for _, l := range strings.Split(text, "\n") {
		var r [3]int
		op, list, _ := strings.Cut(strings.TrimSpace(l), " ")
		for i, reg := range strings.Split(list, ", ") {
			r[i] = register(reg)
		}
		switch op {
		case "VADDPS":
			a.y(fadd, r[2], r[1], r[0])
		case "VSUBPS":
			a.y(fsub, r[2], r[1], r[0])
		case "VMULPS":
			a.y(fmul, r[2], r[1], r[0])
		case "VFMADD231PS":
			a.y(fmla, r[2], r[1], r[0])
		case "VFNMADD231PS":
			a.y(fmls, r[2], r[1], r[0])
		case "VXORPS":
			a.y(eor, r[2], r[1], r[0])
		case "VMOVAPS":
			a.y(orr, r[1], r[0], r[0])
		default:
			panic("no NEON for " + l)
		}
	}
}

func register(name string) (i int) {
	if _, err := fmt.Sscanf(name, "Y%d", &i); err != nil {
		panic(err)
	}
	return i
}

// transform: see winograd. R8 … R13 are the rows of src, R1 the byte of the point's first channel.
func (a arm) transform(t transform) {
	name := t.name + "x8"
	a.text(name, 72)
	a.args("k", 64, "R0")
	for i, c := range t.consts {
		a.broadcast(15-i, 4*constants[c], "R0")
	}
	a.args("tmp", 56, "R2", "src", 8, "R8", "rs", 16, "R0", "cs", 24, "R3", "rd", 32, "R4", "cd", 40, "R5", "c", 48, "R6", "dst", 0, "R7")
	row := func(i int) string { return "R" + itoa(8+i) }
	for i := 1; i < t.in; i++ {
		a.p("\tADD R0, %s, %s", row(i-1), row(i))
	}
	a.p("\tLSL $2, R6\n\tMOVD $0, R0\n%s_c:\n\tMOVD R0, R1", name)
	for b := range t.in {
		for i := range t.in {
			a.p("\tADD R1, %s, R14", row(i))
			a.load(i, 0, "R14")
			if t.ahead > 0 && b+t.ahead >= t.in {
				for range t.ahead {
					a.p("\tADD R3, R14")
				}
				a.fetch(1, 0, "R14")
			}
		}
		i := 0
		t.emit(a.line, func(reg string) {
			a.store(register(reg), 32*(i*t.in+b), "R2")
			i++
		})
		if b+1 < t.in {
			a.p("\tADD R3, R1")
		}
	}
	a.p("\tADD R0, R7, R15")
	for i := range t.out {
		for b := range t.in {
			a.load(b, 32*(i*t.in+b), "R2")
		}
		a.p("\tMOVD R15, R14")
		t.emit(a.line, func(reg string) {
			y := register(reg)
			if t.add {
				a.load(t.spare, 0, "R14")
				a.y(fadd, y, y, t.spare)
			}
			a.store(y, 0, "R14")
			a.p("\tADD R5, R14")
		})
		a.p("\tADD R4, R15")
	}
	a.p("\tADD $32, R0\n\tCMP R6, R0\n\tBLT %s_c\n\tRET\n", name)
}
