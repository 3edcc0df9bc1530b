//go:build arm64 && !purego

package cpu

// available lists the kernels of this machine, best first. Every arm64 has NEON.
func available() []isa {
	return []isa{{name: "neon", mr: 6, nr: 16, gemm: gemm16Kernels[:], vector: true}, generic}
}
