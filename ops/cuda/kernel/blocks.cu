// blocks.cu: pictures as blocks of stride×stride pixels, whose channels lie side by side, for the first convolution of a network.
// Block (y,x) begins at pixel (stride·y-pad, stride·x-pad); what lies outside of the picture is zero. A position holds down×across
// blocks, its own and those below and to the right: channel ((by·across+bx)·stride²+dy·stride+dx)·c+k is channel k of pixel
// (dy,dx) of block (by,bx). Channels beyond these are zero.
#include "cudev.h"

struct pixel { int y, x, k, beyond; }; // of a channel, from where the position's first block begins
DEVICE pixel pixel_of(int j, int c, int stride, int down, int across) {
  int at = j / c, inside = at % (stride * stride), block = at / (stride * stride);
  pixel p = {block / across * stride + inside / stride, block % across * stride + inside % stride, j % c, block >= down * across};
  return p;
}

// to_blocks: y [n,bh,bw,bp] of x [n,h,w,p], of which c channels are used. A thread makes eight channels, the same ones of every
// position that it comes to; a block of threads has lanes positions side by side.
KERNEL(to_blocks)(const act *__restrict__ x, act *__restrict__ y, int n, int h, int w, int p, int bh, int bw, int bp, int c, int stride, int pad,
                  int down, int across) {
  int b8 = bp / 8, lanes = blockDim.x / b8, lane = threadIdx.x / b8, j = threadIdx.x % b8 * 8;
  if (lane >= lanes) return;
  int down_by[8], right_by[8], offset[8];
  for (int k = 0; k < 8; k++) {
    pixel q = pixel_of(j + k, c, stride, down, across);
    down_by[k] = q.beyond ? -(1 << 30) : q.y; // never inside
    right_by[k] = q.x;
    offset[k] = (q.y * w + q.x) * p + q.k;
  }
  unsigned total = (unsigned)n * bh * bw;
  for (unsigned at = blockIdx.x * lanes + lane; at < total; at += gridDim.x * lanes) {
    unsigned row = at / bw;
    int left = (int)(at % bw) * stride - pad, top = (int)(row % bh) * stride - pad;
    const act *corner = x + (((long long)(row / bh) * h + top) * w + left) * p;
    float f[8];
    for (int k = 0; k < 8; k++) {
      int yy = top + down_by[k], xx = left + right_by[k];
      f[k] = yy >= 0 && yy < h && xx >= 0 && xx < w ? get(corner[offset[k]]) : 0.f;
    }
    store8(y + (long long)at * bp + j, f);
  }
}
EXPORT_FLAT(to_blocks)

// from_blocks: dx [n,h,w,p] (+)= the gradients dy [n,bh,bw,bp] of the positions that hold a pixel, in order.
KERNEL(from_blocks)(const act *__restrict__ dy, act *__restrict__ dx, int n, int h, int w, int p, int bh, int bw, int bp, int c, int stride, int pad,
                    int down, int across, int add) {
  FOR_EACH(i, (long long)n * h * w * (p / 8)) {
    unsigned at = (unsigned)i / (p / 8), row = at / w;
    int j = (int)((unsigned)i % (p / 8)) * 8, xx = (int)(at % w) + pad, yy = (int)(row % h) + pad;
    long long b = row / h;
    float f[8];
    for (int k = 0; k < 8; k++) f[k] = 0.f;
    if (add) load8(dx + 8 * i, f);
    for (int v = 0; v < down; v++)
      for (int u = 0; u < across; u++) {
        int by = yy / stride - v, bx = xx / stride - u;
        if (by < 0 || by >= bh || bx < 0 || bx >= bw) continue;
        const act *own = dy + ((b * bh + by) * bw + bx) * bp + ((v * across + u) * stride * stride + yy % stride * stride + xx % stride) * c;
        for (int k = 0; k < 8; k++)
          if (j + k < c) f[k] += get(own[j + k]);
      }
    store8(dx + 8 * i, f);
  }
}
EXPORT_FLAT(from_blocks)

// keep_taps zeroes the gradient d [outs][rows][columns][bp] of weights that are beyond a kernel of some pixels.
KERNEL(keep_taps)(act *__restrict__ d, int outs, int rows, int columns, int bp, int c, int stride, int down, int across, int kernel) {
  FOR_EACH(i, (long long)outs * rows * columns * bp) {
    pixel q = pixel_of((int)(i % bp), c, stride, down, across);
    int tap = (int)(i / bp) % (rows * columns), y = tap / columns * stride + q.y, x = tap % columns * stride + q.x;
    if (q.beyond || y >= kernel || x >= kernel) d[i] = put(0.f);
  }
}
EXPORT_FLAT(keep_taps)
