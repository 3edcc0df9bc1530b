//go:build amd64 && !purego

package cpu

import (
	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/cpu"
)

// ways is how many lines a set of the first-level cache holds. A line's set is part of its offset in a page of 4 KiB, so there are as many
// as the cache has pages; 8, the fewest, where a machine does not tell.
func ways() int { return max(8, cpuid.CPU.Cache.L1D>>12) }

// available lists the kernels of this machine, best first.
func available() []isa {
	var out []isa
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512BW && cpu.X86.HasFMA {
		k := isa{name: "avx512", mr: 14, nr: 32, gemm: gemm512Kernels[:], narrow: gemm512NarrowKernels[:], vector: true, packs16: true, ways: ways()}
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
