// cpu_shim.h runs CUDA kernels on the processor: one block at a time, its threads as fibers. Barriers and shuffles that
// only part of a block reaches are errors, and so are addresses that are not aligned to what is read there. __shared__ memory is static, so its old contents are poisoned between blocks
// only where it is dynamic.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static thread_local
struct dim3 { unsigned x = 1, y = 1, z = 1; };

namespace shim {
enum { STACK = 64 << 10 };
enum State { RUN, BLOCK, WARP, DONE };
struct Fiber { void *sp; dim3 tid; unsigned index; State state; };
struct Block {
  dim3 grid, block, bid;
  unsigned n;
  Fiber *fibers, *cur;
  void *main;
  char *stacks;
  float shuffled[32][32];
  const std::function<void()> *body;
  const char *error;
  bool flat;
};
inline thread_local Block *B = nullptr;

// swap stores the registers that calls keep and goes on with another stack.
__attribute__((naked, noinline, unused)) static void swap(void **, void *) {
  asm("push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n"
      "mov %rsp, (%rdi); mov %rsi, %rsp\n"
      "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret");
}
inline void wait(State s) {
  if (B->flat) { B->error = "barrier or shuffle in a kernel exported as flat"; return; }
  Fiber *f = B->cur;
  f->state = s;
  swap(&f->sp, B->main);
}
inline void enter() {
  (*B->body)();
  B->cur->state = DONE;
  for (;;) swap(&B->cur->sp, B->main);
}
inline dim3 place(const Block &b, unsigned i) { return {i % b.block.x, (i / b.block.x) % b.block.y, i / (b.block.x * b.block.y)}; }

inline const char *run_flat(Block &b) {
  Fiber f;
  b.cur = &f;
  for (unsigned i = 0; i < b.n && !b.error; i++) { f.index = i; f.tid = place(b, i); (*b.body)(); }
  return b.error;
}
inline const char *run_block(Block &b) {
  for (unsigned i = 0; i < b.n; i++) {
    Fiber &f = b.fibers[i];
    f.index = i; f.tid = place(b, i); f.state = RUN;
    void **top = (void **)(((uintptr_t)b.stacks + (size_t)(i + 1) * STACK) & ~(uintptr_t)15);
    *--top = nullptr;            // where enter would return to
    *--top = (void *)enter;
    for (int k = 0; k < 6; k++) *--top = nullptr;
    f.sp = top;
  }
  for (;;) {
    for (unsigned i = 0; i < b.n; i++)
      if (b.fibers[i].state == RUN) { b.cur = &b.fibers[i]; swap(&b.main, b.fibers[i].sp); }
    bool progress = false;
    for (unsigned lo = 0; lo < b.n; lo += 32) { // a warp goes on when all its living lanes wait at a shuffle
      unsigned hi = lo + 32 < b.n ? lo + 32 : b.n;
      bool all = true, any = false;
      for (unsigned i = lo; i < hi; i++) {
        if (b.fibers[i].state == WARP) any = true;
        else if (b.fibers[i].state != DONE) all = false;
      }
      if (any && all) {
        for (unsigned i = lo; i < hi; i++) if (b.fibers[i].state == WARP) b.fibers[i].state = RUN;
        progress = true;
      }
    }
    if (progress) continue;
    unsigned done = 0, waiting = 0;
    for (unsigned i = 0; i < b.n; i++) { done += b.fibers[i].state == DONE; waiting += b.fibers[i].state == BLOCK; }
    if (done == b.n) return nullptr;
    if (waiting != b.n) return "not every thread of the block reaches the barrier or shuffle";
    for (unsigned i = 0; i < b.n; i++) b.fibers[i].state = RUN;
  }
}
inline const char *launch(dim3 grid, dim3 block, bool flat, const std::function<void()> &body) {
  Block b{};
  b.grid = grid; b.block = block; b.n = block.x * block.y * block.z; b.body = &body; b.flat = flat;
  if (!flat) {
    b.fibers = new Fiber[b.n];
    b.stacks = (char *)malloc((size_t)b.n * STACK);
  }
  B = &b;
  const char *err = nullptr;
  for (unsigned z = 0; z < grid.z && !err; z++)
    for (unsigned y = 0; y < grid.y && !err; y++)
      for (unsigned x = 0; x < grid.x && !err; x++) { b.bid = {x, y, z}; err = flat ? run_flat(b) : run_block(b); }
  delete[] b.fibers;
  free(b.stacks);
  return err ? err : b.error;
}
using Bound = std::function<const char *()>;
template <class... A, size_t... I>
Bound *make(void (*k)(A...), dim3 g, dim3 b, bool flat, void **p, std::index_sequence<I...>) {
  auto args = std::make_tuple(*(std::remove_cv_t<A> *)p[I]...); // copied now, as a launch does
  return new Bound([=] { return launch(g, b, flat, [&] { std::apply(k, args); }); });
}
template <class... A> Bound *make(void (*k)(A...), dim3 g, dim3 b, bool flat, void **p) {
  return make(k, g, b, flat, p, std::index_sequence_for<A...>{});
}
inline float exchange(float v, unsigned from) {
  unsigned i = B->cur->index, w = i >> 5;
  B->shuffled[w][i & 31] = v;
  wait(WARP);
  float r = B->shuffled[w][from & 31];
  wait(WARP);
  return r;
}
}
// With -fsanitize=alignment the compiler calls this, for any other mistake about a type too.
extern "C" __attribute__((weak)) void __ubsan_handle_type_mismatch_v1(void *, void *) { shim::B->error = "an address is not aligned to what is read or written there"; }
#define threadIdx (shim::B->cur->tid)
#define blockIdx (shim::B->bid)
#define blockDim (shim::B->block)
#define gridDim (shim::B->grid)
inline void __syncthreads() { shim::wait(shim::BLOCK); }
inline unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }
inline float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
inline float __shfl_xor_sync(unsigned, float v, int m) { return shim::exchange(v, (shim::B->cur->index & 31) ^ m); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fmul_rn(float a, float b) { volatile float r = a * b; return r; }
inline float __fadd_rn(float a, float b) { volatile float r = a + b; return r; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned long long)(((unsigned __int128)a * b) >> 64); }
#define KERNEL(name) extern "C" void name
#define RESIDENT(threads, blocks, name) KERNEL(name)
#define CF_EXPORT(name, flat) \
  extern "C" void *cpu_bind_##name(unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, void **p) { \
    return shim::make(name, {gx, gy, gz}, {bx, by, bz}, flat, p); \
  }
#define EXPORT(name) CF_EXPORT(name, false)
#define EXPORT_FLAT(name) CF_EXPORT(name, true)
