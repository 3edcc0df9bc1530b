//go:build arm64 && !purego

package pixel

// capable says that the machine has the vectors of the kernels: NEON is part of every arm64 that Go runs on.
const capable = true
