package cuda

import "errors"

// Options choose a device and its arithmetic.
type Options struct {
	Ordinal int  // of the device, from 0
	BF16    bool // activations and weights of convolutions in bfloat16; masters, statistics and sums stay float
	TF32    bool // float products may round their inputs to ten bits
	Graphs  bool // forward and backward of a step are recorded once and launched as CUDA graphs
	// Cache is the folder for compiled kernels and chosen engines; empty takes CONTRAFLOW_CACHE, or the user's.
	Cache string
}

// ErrNotBuilt is what Open returns in a program that was built without the tag cuda.
var ErrNotBuilt = errors.New("this build has no CUDA: build one with make cuda, or use --device cpu")

// ErrNoDevice is what Open returns on a machine that has no driver or no GPU.
var ErrNoDevice = errors.New("there is no NVIDIA driver or no GPU on this machine: check nvidia-smi, or use --device cpu")
