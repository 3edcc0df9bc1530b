// optim.cu: the optimiser over all tensors of a network at once. Masters, gradients and velocities are float, one buffer
// each, padded to multiples of eight; work is the copy that convolutions read, of type act.
#include "cudev.h"

// sgd: d = g + decay·w, v = momentum·v + d, w -= lr·v, and the copy for the next step. Without a copy work is null. Nothing is done if ok
// is not null and *ok is 0.
KERNEL(sgd)(float *__restrict__ w, const float *__restrict__ g, float *__restrict__ v, act *__restrict__ work, long long n8, float lr, float momentum, float decay, const int *__restrict__ ok) {
  if (ok && !*ok) return;
  FOR_EACH(i, n8) {
    float a[8], d[8], m[8];
    load8(w + 8 * i, a);
    load8(g + 8 * i, d);
    load8(v + 8 * i, m);
    for (int k = 0; k < 8; k++) {
      m[k] = momentum * m[k] + (d[k] + decay * a[k]);
      a[k] -= lr * m[k];
    }
    store8(v + 8 * i, m);
    store8(w + 8 * i, a);
    if (work) store8(work + 8 * i, a);
  }
}
EXPORT_FLAT(sgd)

// average: w = keep·w + take·q, the momentum encoder's step.
KERNEL(average)(float *__restrict__ w, const float *__restrict__ q, act *__restrict__ work, long long n8, float keep, float take) {
  FOR_EACH(i, n8) {
    float a[8], b[8];
    load8(w + 8 * i, a);
    load8(q + 8 * i, b);
    for (int k = 0; k < 8; k++) a[k] = keep * a[k] + take * b[k];
    store8(w + 8 * i, a);
    if (work) store8(work + 8 * i, a);
  }
}
EXPORT_FLAT(average)

// narrow: work = w.
KERNEL(narrow)(const float *__restrict__ w, act *__restrict__ work, long long n8) {
  FOR_EACH(i, n8) {
    float a[8];
    load8(w + 8 * i, a);
    store8(work + 8 * i, a);
  }
}
EXPORT_FLAT(narrow)

// widen_add: g += d, the gradients of one backward.
KERNEL(widen_add)(const act *__restrict__ d, float *__restrict__ g, long long n8) {
  FOR_EACH(i, n8) {
    float a[8], b[8];
    load8(d + 8 * i, a);
    load8(g + 8 * i, b);
    for (int k = 0; k < 8; k++) b[k] += a[k];
    store8(g + 8 * i, b);
  }
}
EXPORT_FLAT(widen_add)

// keep_blocks zeroes the gradient of a grouped convolution, computed as a dense one, outside of its blocks: w is
// [out][taps][in], both padded; block i covers outputs from i·og and inputs from i·ig.
KERNEL(keep_blocks)(act *__restrict__ d, int outs, int taps, int ins, int og, int ig) {
  FOR_EACH(i, (long long)outs * taps * ins) {
    int c = (int)(i % ins), o = (int)(i / ins / taps);
    if (o / og != c / ig) d[i] = put(0.f);
  }
}
EXPORT_FLAT(keep_blocks)

// square_sums: part[block] = Σg² over the block's share.
KERNEL(square_sums)(const float *__restrict__ g, double *__restrict__ part, long long n) {
  __shared__ double sh[256];
  double s = 0;
  FOR_EACH(i, n) s += (double)g[i] * g[i];
  sh[threadIdx.x] = s;
  __syncthreads();
  for (int o = 128; o > 0; o >>= 1) {
    if (threadIdx.x < (unsigned)o) sh[threadIdx.x] += sh[threadIdx.x + o];
    __syncthreads();
  }
  if (threadIdx.x == 0) part[blockIdx.x] = sh[0];
}
EXPORT(square_sums)

// all_finite: *ok = 1 if all sums of square_sums are and, unless these are the first, *ok was 1. For one block of as many threads.
KERNEL(all_finite)(const double *__restrict__ part, int *ok, int first) {
  __shared__ double sh[256];
  sh[threadIdx.x] = part[threadIdx.x];
  __syncthreads();
  for (int o = 128; o > 0; o >>= 1) {
    if (threadIdx.x < (unsigned)o) sh[threadIdx.x] += sh[threadIdx.x + o];
    __syncthreads();
  }
  if (threadIdx.x == 0) *ok = sh[0] - sh[0] == 0 && (first || *ok); // infinity and NaN give NaN; finite floats' squares are far from both
}
EXPORT(all_finite)
