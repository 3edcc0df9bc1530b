//go:build amd64 && !purego

package pixel

import "golang.org/x/sys/cpu"

// capable says that the machine has the vectors of the kernels.
var capable = cpu.X86.HasAVX2
