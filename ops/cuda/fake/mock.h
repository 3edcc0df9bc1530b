// mock.h ties the mock libraries to the fake driver, which the program has loaded before them.
#pragma once
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <functional>
#include <vector>

// enqueue puts work on a stream; operations, those of float32 counted six times, and bytes are what it costs, for a driver that keeps
// time.
inline int enqueue(void *stream, double operations, double bytes, std::function<int()> f) {
  static auto put = (int (*)(void *, std::function<int()> *))dlsym(RTLD_DEFAULT, "fake_enqueue");
  static auto cost = (void (*)(double, double))dlsym(RTLD_DEFAULT, "fake_cost");
  if (cost) cost(operations, bytes);
  if (!put) return f();
  return put(stream, new std::function<int()>(std::move(f)));
}
inline bool on_device(const void *p, size_t n) {
  static auto inside = (int (*)(unsigned long long, size_t))dlsym(RTLD_DEFAULT, "fake_inside");
  return !inside || inside((unsigned long long)p, n);
}
inline float bf2f(uint16_t h) { uint32_t u = (uint32_t)h << 16; float f; memcpy(&f, &u, 4); return f; }
inline uint16_t f2bf(float f) { uint32_t u; memcpy(&u, &f, 4); return (u + 0x7fff + ((u >> 16) & 1)) >> 16; }
// A tensor of float or bfloat16.
struct Data {
  void *p;
  bool bf;
  float at(size_t i) const { return bf ? bf2f(((uint16_t *)p)[i]) : ((float *)p)[i]; }
  void put(size_t i, float v) const { if (bf) ((uint16_t *)p)[i] = f2bf(v); else ((float *)p)[i] = v; }
};
