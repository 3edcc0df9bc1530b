// elementwise.cu has what touches every value once. Counts are in vectors of eight.
#include "cudev.h"

// relu: y = max(x, 0), NaN stays.
KERNEL(relu)(const act *__restrict__ x, act *__restrict__ y, long long n8) {
  FOR_EACH(i, n8) {
    float f[8];
    load8(x + 8 * i, f);
    for (int k = 0; k < 8; k++) f[k] = f[k] < 0.f ? 0.f : f[k];
    store8(y + 8 * i, f);
  }
}
EXPORT_FLAT(relu)

// relu_back: dx (+)= dy where y > 0.
KERNEL(relu_back)(const act *__restrict__ y, const act *__restrict__ dy, act *__restrict__ dx, long long n8, int add) {
  FOR_EACH(i, n8) {
    float f[8], g[8], old[8];
    load8(y + 8 * i, f);
    load8(dy + 8 * i, g);
    if (add) load8(dx + 8 * i, old);
    for (int k = 0; k < 8; k++) g[k] = (f[k] > 0.f ? g[k] : 0.f) + (add ? old[k] : 0.f);
    store8(dx + 8 * i, g);
  }
}
EXPORT_FLAT(relu_back)

// sum: y = a + b.
KERNEL(sum)(const act *a, const act *b, act *y, long long n8) {
  FOR_EACH(i, n8) {
    float f[8], g[8];
    load8(a + 8 * i, f);
    load8(b + 8 * i, g);
    for (int k = 0; k < 8; k++) f[k] += g[k];
    store8(y + 8 * i, f);
  }
}
EXPORT_FLAT(sum)

// add_bias: y[r,c] += bias[c]; p channels a row.
KERNEL(add_bias)(act *__restrict__ y, const float *__restrict__ bias, long long n8, int p) {
  FOR_EACH(i, n8) {
    int c = (int)(8 * i % p);
    float f[8], b[8];
    load8(y + 8 * i, f);
    load8(bias + c, b);
    for (int k = 0; k < 8; k++) f[k] += b[k];
    store8(y + 8 * i, f);
  }
}
EXPORT_FLAT(add_bias)

// scale_mask: y (+)= x·mask; mask has channels c of p only, as the host draws it.
KERNEL(scale_mask)(const act *__restrict__ x, const float *__restrict__ mask, act *__restrict__ y, long long rows, int c, int p, int add) {
  FOR_EACH(i, rows * p) {
    int ch = (int)(i % p);
    float v = ch < c ? get(x[i]) * mask[i / p * c + ch] : 0.f;
    y[i] = put(add ? get(y[i]) + v : v);
  }
}
EXPORT_FLAT(scale_mask)
