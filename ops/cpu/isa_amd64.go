//go:build amd64 && !purego

package cpu

import "golang.org/x/sys/cpu"

// available lists the kernels of this machine, best first.
func available() []isa {
	var out []isa
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512BW && cpu.X86.HasFMA {
		k := isa{name: "avx512", mr: 14, nr: 32, gemm: gemm512Kernels[:], narrow: gemm512NarrowKernels[:], vector: true, packs16: true}
		if cpu.X86.HasAVX512BF16 {
			k.pairs = gemmPairsKernels[:]
		}
		out = append(out, k)
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		out = append(out, isa{name: "avx2", mr: 6, nr: 16, gemm: gemm16Kernels[:], vector: true})
	}
	return append(out, generic)
}
