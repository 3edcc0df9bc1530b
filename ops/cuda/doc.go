// Package cuda is the ops.Device for NVIDIA GPUs. It is compiled with the build tag cuda (make cuda, which needs gcc and no
// CUDA toolkit); without the tag Open says so, and nothing of it is linked.
//
// Activations are NHWC with channels padded to a multiple of eight, in float or bfloat16. Convolutions are engines of
// cuDNN's graph API, timed once and remembered on disk; linear layers are cuBLASLt's; everything else is our own kernels
// (kernel/*.cu), compiled on the machine by NVRTC and kept on disk. All of these libraries are found when the program runs.
//
// One goroutine, locked to its thread, owns the context, the streams and all memory; calls are sent to it, so a Device may
// be used by several goroutines. Work is put on a stream and not waited for: what reads a result waits.
//
// docs/cuda.md tells what was proven, and where.
package cuda
