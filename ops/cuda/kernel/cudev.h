// cudev.h: one source, three compilers.
//   NVRTC: everything exists, only small functions are added.
//   clang -x cuda -nocudainc -nocudalib (syntax and PTX): the few spellings in use are made from clang's builtins.
//   g++ (-DCPU_SHIM): cpu_shim.h runs the grid on the processor, for the numbers.
// Kernels include no other header. Activations are of type act: float, or bfloat16 with -DCF_BF16.
#pragma once
#if defined(CPU_SHIM)
#include "cpu_shim.h"
#elif defined(__clang__) && defined(__CUDA__)
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define __forceinline__ __attribute__((always_inline)) inline
#define __align__(n) __attribute__((aligned(n)))
#define CF_INDEX(name, reg) \
  struct cf_##name { \
    __declspec(property(get = get_x)) unsigned x; \
    __declspec(property(get = get_y)) unsigned y; \
    __declspec(property(get = get_z)) unsigned z; \
    static __device__ __forceinline__ unsigned get_x() { return __nvvm_read_ptx_sreg_##reg##_x(); } \
    static __device__ __forceinline__ unsigned get_y() { return __nvvm_read_ptx_sreg_##reg##_y(); } \
    static __device__ __forceinline__ unsigned get_z() { return __nvvm_read_ptx_sreg_##reg##_z(); } \
  }; \
  extern const __device__ cf_##name name
CF_INDEX(threadIdx, tid);
CF_INDEX(blockIdx, ctaid);
CF_INDEX(blockDim, ntid);
CF_INDEX(gridDim, nctaid);
static __device__ __forceinline__ float __shfl_xor_sync(unsigned m, float v, int l) { return __nvvm_shfl_sync_bfly_f32(m, v, l, 0x1f); }
static __device__ __forceinline__ float __uint_as_float(unsigned u) { return __builtin_bit_cast(float, u); }
static __device__ __forceinline__ unsigned __float_as_uint(float f) { return __builtin_bit_cast(unsigned, f); }
static __device__ __forceinline__ float __fmaf_rn(float a, float b, float c) { return __nvvm_fma_rn_f(a, b, c); }
static __device__ __forceinline__ float __fmul_rn(float a, float b) { return __nvvm_mul_rn_f(a, b); }
static __device__ __forceinline__ float __fadd_rn(float a, float b) { return __nvvm_add_rn_f(a, b); }
static __device__ __forceinline__ float fmaxf(float a, float b) { return __nvvm_fmax_f(a, b); }
static __device__ __forceinline__ float expf(float x) { return __nvvm_ex2_approx_f(x * 1.4426950408889634f); }
static __device__ __forceinline__ float logf(float x) { return __nvvm_lg2_approx_f(x) * 0.6931471805599453f; }
static __device__ __forceinline__ double sqrt(double x) { return __nvvm_sqrt_rn_d(x); }
static __device__ __forceinline__ unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return __nvvm_mulhi_ull(a, b); }
#endif
#ifndef CPU_SHIM
#define KERNEL(name) extern "C" __global__ void name
// RESIDENT is a kernel of which so many blocks of so many threads must fit on a multiprocessor: it gets no more registers than that.
#define RESIDENT(threads, blocks, name) extern "C" __global__ void __launch_bounds__(threads, blocks) name
// EXPORT makes a kernel callable on the processor; EXPORT_FLAT one without barriers and shuffles, which runs faster there.
#define EXPORT(name)
#define EXPORT_FLAT(name)
#endif
#define DEVICE static __device__ __forceinline__

typedef unsigned short bf16;
#ifdef CF_BF16
typedef bf16 act;
#else
typedef float act;
#endif

DEVICE float bf2f(bf16 h) { return __uint_as_float(((unsigned)h) << 16); }
// f2bf rounds to nearest even and keeps NaN.
DEVICE bf16 f2bf(float f) {
  unsigned u = __float_as_uint(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return (bf16)((u >> 16) | 0x40u);
  return (bf16)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}
#ifdef CF_BF16
DEVICE float get(act a) { return bf2f(a); }
DEVICE act put(float f) { return f2bf(f); }
#else
DEVICE float get(act a) { return a; }
DEVICE act put(float f) { return f; }
#endif

// Eight channels at a time: 16 bytes of bfloat16, or twice 16 bytes of float. Addresses are aligned for it.
struct __align__(16) words { unsigned w[4]; };
DEVICE void load8(const float *p, float *f) {
  const words a = *(const words *)p, b = *(const words *)(p + 4);
  for (int k = 0; k < 4; k++) { f[k] = __uint_as_float(a.w[k]); f[4 + k] = __uint_as_float(b.w[k]); }
}
DEVICE void store8(float *p, const float *f) {
  words a, b;
  for (int k = 0; k < 4; k++) { a.w[k] = __float_as_uint(f[k]); b.w[k] = __float_as_uint(f[4 + k]); }
  *(words *)p = a;
  *(words *)(p + 4) = b;
}
DEVICE void load8(const bf16 *p, float *f) {
  const words a = *(const words *)p;
  for (int k = 0; k < 4; k++) { f[2 * k] = __uint_as_float(a.w[k] << 16); f[2 * k + 1] = __uint_as_float(a.w[k] & 0xffff0000u); }
}
// pair is two bfloat16 of two floats.
#ifdef CPU_SHIM
DEVICE unsigned pair(float low, float high) { return (unsigned)f2bf(low) | ((unsigned)f2bf(high) << 16); }
#else
DEVICE unsigned pair(float low, float high) {
  unsigned u;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(high), "f"(low));
  return u;
}
#endif
DEVICE void store8(bf16 *p, const float *f) {
  words a;
  for (int k = 0; k < 4; k++) a.w[k] = pair(f[2 * k], f[2 * k + 1]);
  *(words *)p = a;
}

// Copies of 16 bytes from global to shared memory that go on by themselves. commit closes a group of them; settled<N> waits
// until all but the last N groups have arrived, for the thread that asked.
#ifdef CPU_SHIM
DEVICE void begin_copy(void *to, const void *from) { memcpy(to, from, 16); }
DEVICE void commit() {}
template <int N> DEVICE void settled() {}
#else
DEVICE void begin_copy(void *to, const void *from) {
  asm volatile("{ .reg .u64 s; .reg .u32 t; cvta.to.shared.u64 s, %0; cvt.u32.u64 t, s; cp.async.cg.shared.global [t], [%1], 16; }" ::"l"(to), "l"(from) : "memory");
}
DEVICE void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> DEVICE void settled() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
#endif

// FOR_EACH walks i over [0, n) with the whole grid along x.
#define FOR_EACH(i, n) \
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (long long)gridDim.x * blockDim.x)

// warp_sum adds over the 32 lanes of a warp, in an order that is always the same.
DEVICE float warp_sum(float v) {
  for (int o = 16; o > 0; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
  return v;
}
