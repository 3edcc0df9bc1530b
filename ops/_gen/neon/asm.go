// Package neon helps to write assembly for arm64. Go's assembler knows part of NEON only: the rest is named here as Go would name
// it, operands in Go's order, and becomes words.
package neon

import (
	"fmt"
	"strings"
)

// Asm collects lines.
type Asm struct{ strings.Builder }

// P writes lines, each as it is or as a word.
func (a *Asm) P(format string, args ...any) {
	for line := range strings.Lines(strings.Trim(fmt.Sprintf(format, args...), "\n") + "\n") {
		a.WriteString(Line(strings.TrimSuffix(line, "\n")) + "\n")
	}
}

// Func begins a function, of a signature as Go declares it and the size of its arguments.
func (a *Asm) Func(signature string, size int) {
	name, _, _ := strings.Cut(signature, "(")
	fmt.Fprintf(a, "\n// func %s\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", signature, name, size)
}

// Table defines read-only data of values of size bytes.
func (a *Asm) Table(name string, size int, values ...uint64) {
	a.WriteString("\n")
	for i, v := range values {
		a.P("DATA %s<>+%d(SB)/%d, $%#0*x", name, size*i, size, 2*size, v)
	}
	a.P("GLOBL %s<>(SB), RODATA|NOPTR, $%d", name, size*len(values))
}
