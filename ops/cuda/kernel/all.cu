// all.cu is the module that NVRTC compiles: every kernel, once in float and once in bfloat16.
#include "layout.cu"
#include "elementwise.cu"
#include "norm.cu"
#include "pool.cu"
#include "l2norm.cu"
#include "optim.cu"
#include "bank.cu"
#include "pixels.cu"
