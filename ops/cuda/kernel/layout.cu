// layout.cu moves values between the host's layout, float [n,C,H,W], and the device's, act [n,H,W,P], where P is C rounded
// up to a multiple of eight and the channels from C on are zero.
#include "cudev.h"

// pack: dst[b,p,c] (+)= src[b,c,p]; one thread a pixel and eight channels, along y.
KERNEL(pack)(const float *__restrict__ src, act *__restrict__ dst, int n, int area, int c, int p, int add) {
  int c0 = blockIdx.y * 8;
  FOR_EACH(i, (long long)n * area) {
    long long b = i / area, at = i % area;
    float f[8], old[8];
    for (int k = 0; k < 8; k++) f[k] = c0 + k < c ? src[(b * c + c0 + k) * area + at] : 0.f;
    act *out = dst + i * p + c0;
    if (add) {
      load8(out, old);
      for (int k = 0; k < 8; k++) f[k] += old[k];
    }
    store8(out, f);
  }
}
EXPORT_FLAT(pack)

// unpack: dst[b,c,p] = src[b,p,c].
KERNEL(unpack)(const act *__restrict__ src, float *__restrict__ dst, int n, int area, int c, int p) {
  int c0 = blockIdx.y * 8;
  FOR_EACH(i, (long long)n * area) {
    long long b = i / area, at = i % area;
    float f[8];
    load8(src + i * p + c0, f);
    for (int k = 0; k < 8; k++)
      if (c0 + k < c) dst[(b * c + c0 + k) * area + at] = f[k];
  }
}
EXPORT_FLAT(unpack)

// flatten: dst[b, c·area+q] = src[b,q,c]; rows of dst are padded to width.
KERNEL(flatten)(const act *__restrict__ src, act *__restrict__ dst, int n, int area, int c, int p, int width) {
  FOR_EACH(i, (long long)n * width) {
    long long b = i / width;
    int k = (int)(i % width), ch = k / area, q = k % area;
    dst[i] = ch < c ? src[(b * area + q) * p + ch] : put(0.f);
  }
}
EXPORT_FLAT(flatten)

// flatten_back: dx[b,q,c] (+)= dy[b, c·area+q].
KERNEL(flatten_back)(const act *__restrict__ dy, act *__restrict__ dx, int n, int area, int c, int p, int width, int add) {
  FOR_EACH(i, (long long)n * area * p) {
    int ch = (int)(i % p);
    long long row = i / p;
    int q = (int)(row % area);
    float v = ch < c ? get(dy[(row / area) * width + ch * area + q]) : 0.f;
    dx[i] = put(add ? get(dx[i]) + v : v);
  }
}
EXPORT_FLAT(flatten_back)
