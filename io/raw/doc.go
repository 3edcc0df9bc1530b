// Package raw is a tensor as files hold it: a name, an element type, a shape and row-major little-endian bytes.
//
// The packages for single formats (io/torch, io/safetensors, io/npz, io/checkpoint) all read into and write from
// [Tensor], so converting between two of them is a loop over tensors. It computes nothing.
package raw
