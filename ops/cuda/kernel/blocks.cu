// blocks.cu: pictures as blocks of stride×stride pixels, whose channels lie side by side, for the first convolution of a network.
// Block (y,x) begins at pixel (stride·y-pad, stride·x-pad); what lies outside of the picture is zero. Channel (dy·stride+dx)·c+k
// of a block is channel k of its pixel (dy,dx); from stride²·c on they are zero.
#include "cudev.h"

// to_blocks: y [n,bh,bw,bp] of x [n,h,w,p], of which c channels are used. One thread makes eight channels.
KERNEL(to_blocks)(const act *__restrict__ x, act *__restrict__ y, int n, int h, int w, int p, int bh, int bw, int bp, int c, int stride, int pad) {
  int b8 = bp / 8;
  FOR_EACH(i, (long long)n * bh * bw * b8) {
    unsigned at = (unsigned)i / b8, row = at / bw;
    int j = (int)((unsigned)i % b8) * 8, left = (int)(at % bw) * stride - pad, top = (int)(row % bh) * stride - pad;
    long long b = row / bh;
    float f[8];
    for (int k = 0; k < 8; k++) {
      int pixel = (j + k) / c, ch = (j + k) % c, yy = top + pixel / stride, xx = left + pixel % stride;
      bool inside = pixel < stride * stride && yy >= 0 && yy < h && xx >= 0 && xx < w;
      f[k] = inside ? get(x[((b * h + yy) * w + xx) * p + ch]) : 0.f;
    }
    store8(y + 8 * i, f);
  }
}
EXPORT_FLAT(to_blocks)

// from_blocks: dx [n,h,w,p] (+)= the gradient dy [n,bh,bw,bp] of its block. Pixels that no block holds have none.
KERNEL(from_blocks)(const act *__restrict__ dy, act *__restrict__ dx, int n, int h, int w, int p, int bh, int bw, int bp, int c, int stride, int pad, int add) {
  FOR_EACH(i, (long long)n * h * w * (p / 8)) {
    unsigned at = (unsigned)i / (p / 8), row = at / w;
    int j = (int)((unsigned)i % (p / 8)) * 8, xx = (int)(at % w) + pad, yy = (int)(row % h) + pad;
    long long b = row / h;
    bool inside = yy / stride < bh && xx / stride < bw;
    const act *block = dy + ((b * bh + yy / stride) * bw + xx / stride) * bp + (yy % stride * stride + xx % stride) * c;
    float f[8], old[8];
    for (int k = 0; k < 8; k++) f[k] = inside && j + k < c ? get(block[j + k]) : 0.f;
    if (add) {
      load8(dx + 8 * i, old);
      for (int k = 0; k < 8; k++) f[k] += old[k];
    }
    store8(dx + 8 * i, f);
  }
}
EXPORT_FLAT(from_blocks)

// keep_taps zeroes the gradient d [outs][taps][taps][bp] of weights that are beyond a kernel of some pixels.
KERNEL(keep_taps)(act *__restrict__ d, int outs, int taps, int bp, int c, int stride, int kernel) {
  FOR_EACH(i, (long long)outs * taps * taps * bp) {
    int pixel = (int)(i % bp) / c, tap = (int)(i / bp) % (taps * taps);
    int y = tap / taps * stride + pixel / stride, x = tap % taps * stride + pixel % stride;
    if (pixel >= stride * stride || y >= kernel || x >= kernel) d[i] = put(0.f);
  }
}
EXPORT_FLAT(keep_taps)
