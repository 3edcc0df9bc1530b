// Package cpu is the ops.Device that every machine has.
//
// Activations are NHWC with a physical border of zeros (the halo) where a convolution reads them, so that a
// convolution is a matrix product over memory as it lies: no patches are copied. One micro-kernel, generated for AVX-512,
// AVX2 and NEON and written in Go for everything else, does convolutions forward and backward and linear layers. Work is
// cut into pieces that depend on shapes alone, and sums are ordered, so that any number of threads gives the same bits.
// With Options.BF16 the micro-kernel takes pairs of bfloat16 where it took floats, on processors that have AVX512_BF16.
//
// The environment variable CONTRAFLOW_ISA (generic, avx2, avx512, neon) chooses the kernels; the tag purego leaves the
// assembly out.
package cpu

//go:generate sh -c "cd _gen && go run . .."
