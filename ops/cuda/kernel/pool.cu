// pool.cu: maximum and mean over windows or adaptive bins of [n,H,W,P]. Backward gathers: every input adds up the outputs
// whose windows cover it, in row order, so that no atomics are needed and the bits are always the same.
#include "cudev.h"

struct span { int from, to; };
// bins > 0: [floor(o·s/n), ceil((o+1)·s/n)); otherwise a sliding window cut at the border.
DEVICE span window(int o, int size, int kernel, int stride, int pad, int bins) {
  span s;
  if (bins > 0) {
    s.from = o * size / bins;
    s.to = ((o + 1) * size + bins - 1) / bins;
    return s;
  }
  s.from = o * stride - pad;
  s.to = s.from + kernel;
  if (s.from < 0) s.from = 0;
  if (s.to > size) s.to = size;
  return s;
}
// covering is the range of outputs whose windows may hold input i.
DEVICE span covering(int i, int size, int outs, int kernel, int stride, int pad, int bins) {
  span s;
  if (bins > 0) {
    s.from = i * bins / size - 1;
    s.to = i * bins / size + 2;
  } else {
    int low = i + pad - kernel + 1;
    s.from = low > 0 ? (low + stride - 1) / stride : 0;
    s.to = (i + pad) / stride + 1;
  }
  if (s.from < 0) s.from = 0;
  if (s.to > outs) s.to = outs;
  return s;
}

// max_pool: y and, if wins is there, where in its window each maximum was: the first in row order, NaN winning.
KERNEL(max_pool)(const act *__restrict__ x, act *__restrict__ y, unsigned short *__restrict__ wins, int n, int h, int w, int oh, int ow, int p,
                 int kernel, int stride, int pad, int bins) {
  int c8 = p / 8;
  FOR_EACH(i, (long long)n * oh * ow * c8) {
    unsigned o32 = (unsigned)i / c8, row = o32 / ow; // a value has fewer vectors of eight than an unsigned can count
    int c = (int)((unsigned)i % c8) * 8, ox = o32 % ow, oy = row % oh;
    long long o = o32, b = row / oh;
    span r = window(oy, h, kernel, stride, pad, bins), q = window(ox, w, kernel, stride, pad, bins);
    float best[8], f[8];
    int at[8];
    for (int k = 0; k < 8; k++) { best[k] = __uint_as_float(0xff800000u); at[k] = 0; }
    for (int yy = r.from; yy < r.to; yy++)
      for (int xx = q.from; xx < q.to; xx++) {
        load8(x + ((b * h + yy) * w + xx) * p + c, f);
        for (int k = 0; k < 8; k++)
          if (f[k] > best[k] || f[k] != f[k]) {
            best[k] = f[k];
            at[k] = (yy - r.from) * (q.to - q.from) + xx - q.from;
          }
      }
    store8(y + o * p + c, best);
    if (wins) {
      words won;
      for (int k = 0; k < 4; k++) won.w[k] = (unsigned)at[2 * k] | (unsigned)at[2 * k + 1] << 16;
      *(words *)(wins + o * p + c) = won;
    }
  }
}
EXPORT_FLAT(max_pool)

// max_pool_back: dx (+)= the gradients of the windows that this input won.
KERNEL(max_pool_back)(const act *__restrict__ dy, const unsigned short *__restrict__ wins, act *__restrict__ dx, int n, int h, int w, int oh, int ow,
                      int p, int kernel, int stride, int pad, int bins, int add) {
  int c8 = p / 8;
  FOR_EACH(i, (long long)n * h * w * c8) {
    unsigned at = (unsigned)i / c8, row = at / w;
    int c = (int)((unsigned)i % c8) * 8, x = at % w, y = row % h;
    long long b = row / h;
    span rows = covering(y, h, oh, kernel, stride, pad, bins), cols = covering(x, w, ow, kernel, stride, pad, bins);
    float s[8], g[8];
    if (add) load8(dx + 8 * i, s);
    else for (int k = 0; k < 8; k++) s[k] = 0.f;
    for (int oy = rows.from; oy < rows.to; oy++) {
      span r = window(oy, h, kernel, stride, pad, bins);
      if (y < r.from || y >= r.to) continue;
      for (int ox = cols.from; ox < cols.to; ox++) {
        span q = window(ox, w, kernel, stride, pad, bins);
        if (x < q.from || x >= q.to) continue;
        int me = (y - r.from) * (q.to - q.from) + x - q.from;
        long long o = ((b * oh + oy) * ow + ox) * p + c;
        const words won = *(const words *)(wins + o);
        load8(dy + o, g);
        for (int k = 0; k < 8; k++)
          if ((int)(won.w[k / 2] >> 16 * (k % 2) & 0xffffu) == me) s[k] += g[k];
      }
    }
    store8(dx + 8 * i, s);
  }
}
EXPORT_FLAT(max_pool_back)

// mean_pool: y = the mean of every window.
KERNEL(mean_pool)(const act *__restrict__ x, act *__restrict__ y, int n, int h, int w, int oh, int ow, int p, int kernel, int stride, int pad, int bins) {
  int c8 = p / 8;
  FOR_EACH(i, (long long)n * oh * ow * c8) {
    unsigned o32 = (unsigned)i / c8, row = o32 / ow; // a value has fewer vectors of eight than an unsigned can count
    int c = (int)((unsigned)i % c8) * 8, ox = o32 % ow, oy = row % oh;
    long long o = o32, b = row / oh;
    span r = window(oy, h, kernel, stride, pad, bins), q = window(ox, w, kernel, stride, pad, bins);
    float s[8], f[8];
    for (int k = 0; k < 8; k++) s[k] = 0.f;
    for (int yy = r.from; yy < r.to; yy++)
      for (int xx = q.from; xx < q.to; xx++) {
        load8(x + ((b * h + yy) * w + xx) * p + c, f);
        for (int k = 0; k < 8; k++) s[k] += f[k];
      }
    float inv = 1.f / (float)((r.to - r.from) * (q.to - q.from));
    for (int k = 0; k < 8; k++) s[k] *= inv;
    store8(y + o * p + c, s);
  }
}
EXPORT_FLAT(mean_pool)

// mean_pool_back: dx (+)= every window's gradient, shared out evenly.
KERNEL(mean_pool_back)(const act *__restrict__ dy, act *__restrict__ dx, int n, int h, int w, int oh, int ow, int p, int kernel, int stride, int pad,
                       int bins, int add) {
  int c8 = p / 8;
  FOR_EACH(i, (long long)n * h * w * c8) {
    unsigned at = (unsigned)i / c8, row = at / w;
    int c = (int)((unsigned)i % c8) * 8, x = at % w, y = row % h;
    long long b = row / h;
    span rows = covering(y, h, oh, kernel, stride, pad, bins), cols = covering(x, w, ow, kernel, stride, pad, bins);
    float s[8], g[8];
    if (add) load8(dx + 8 * i, s);
    else for (int k = 0; k < 8; k++) s[k] = 0.f;
    for (int oy = rows.from; oy < rows.to; oy++) {
      span r = window(oy, h, kernel, stride, pad, bins);
      if (y < r.from || y >= r.to) continue;
      for (int ox = cols.from; ox < cols.to; ox++) {
        span q = window(ox, w, kernel, stride, pad, bins);
        if (x < q.from || x >= q.to) continue;
        float inv = 1.f / (float)((r.to - r.from) * (q.to - q.from));
        load8(dy + ((b * oh + oy) * ow + ox) * p + c, g);
        for (int k = 0; k < 8; k++) s[k] += g[k] * inv;
      }
    }
    store8(dx + 8 * i, s);
  }
}
EXPORT_FLAT(mean_pool_back)
