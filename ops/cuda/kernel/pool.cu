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

// max_pool: y and, if wins is there, where in its window each maximum was: the first in row order, NaN winning. Places count over
// the whole window, also where the border cuts it.
KERNEL(max_pool)(const act *__restrict__ x, act *__restrict__ y, unsigned short *__restrict__ wins, int n, int h, int w, int oh, int ow, int p,
                 int kernel, int stride, int pad, int bins) {
  int c8 = p / 8;
  FOR_EACH(i, (long long)n * oh * ow * c8) {
    unsigned o32 = (unsigned)i / c8, row = o32 / ow; // a value has fewer vectors of eight than an unsigned can count
    int c = (int)((unsigned)i % c8) * 8, ox = o32 % ow, oy = row % oh;
    long long o = o32, b = row / oh;
    span r = window(oy, h, kernel, stride, pad, bins), q = window(ox, w, kernel, stride, pad, bins);
    int top = bins > 0 ? r.from : oy * stride - pad, left = bins > 0 ? q.from : ox * stride - pad, wide = bins > 0 ? q.to - q.from : kernel;
    float best[8], f[3][8];
    int at[8], first = (r.from - top) * wide + q.from - left;
    for (int k = 0; k < 8; k++) { best[k] = __uint_as_float(0xff800000u); at[k] = first; }
    if (kernel == 3 && bins <= 0) { // three loads under way; beyond the border the nearest values come again, which changes nothing
      for (int v = 0; v < 3; v++) {
        int yy = top + v < r.from ? r.from : top + v < r.to ? top + v : r.to - 1;
        for (int u = 0; u < 3; u++) {
          int xx = left + u < q.from ? q.from : left + u < q.to ? left + u : q.to - 1;
          load8(x + ((b * h + yy) * w + xx) * p + c, f[u]);
        }
        for (int u = 0; u < 3; u++) {
          int xx = left + u < q.from ? q.from : left + u < q.to ? left + u : q.to - 1;
          for (int k = 0; k < 8; k++)
            if (f[u][k] > best[k] || f[u][k] != f[u][k]) {
              best[k] = f[u][k];
              at[k] = (yy - top) * 3 + xx - left;
            }
        }
      }
    } else {
      for (int yy = r.from; yy < r.to; yy++)
        for (int xx = q.from; xx < q.to; xx++) {
          load8(x + ((b * h + yy) * w + xx) * p + c, f[0]);
          for (int k = 0; k < 8; k++)
            if (f[0][k] > best[k] || f[0][k] != f[0][k]) {
              best[k] = f[0][k];
              at[k] = (yy - top) * wide + xx - left;
            }
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
        int me = bins > 0 ? (y - r.from) * (q.to - q.from) + x - q.from : (y - oy * stride + pad) * kernel + x - ox * stride + pad;
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

// max_pool_back_3_2: the same for windows of three by three that move by two, with a pad of zero or one. A thread makes the gradients
// of the two by two inputs from (2a-pad+1, 2b-pad+1) on, which four windows cover: (a,b) to (a+1,b+1). blocks of them a side.
KERNEL(max_pool_back_3_2)(const act *__restrict__ dy, const unsigned short *__restrict__ wins, act *__restrict__ dx, int n, int h, int w, int oh, int ow,
                          int p, int pad, int bh, int bw, int add) {
  int c8 = p / 8;
  FOR_EACH(i, (long long)n * bh * bw * c8) {
    unsigned at = (unsigned)i / c8, row = at / bw;
    int c = (int)((unsigned)i % c8) * 8, a = (int)(row % bh) + pad - 1, b = (int)(at % bw) + pad - 1;
    long long sample = row / bh;
    words won[2][2];
    float g[2][2][8], s[8];
    for (int y = 0; y < 2; y++)
      for (int x = 0; x < 2; x++) {
        bool there = a + y >= 0 && a + y < oh && b + x >= 0 && b + x < ow;
        long long o = ((sample * oh + a + y) * ow + b + x) * p + c;
        for (int k = 0; k < 4; k++) won[y][x].w[k] = 0xffffffffu;
        for (int k = 0; k < 8; k++) g[y][x][k] = 0.f;
        if (!there) continue;
        won[y][x] = *(const words *)(wins + o);
        load8(dy + o, g[y][x]);
      }
    for (int v = 0; v < 2; v++)
      for (int u = 0; u < 2; u++) {
        int yy = 2 * a - pad + 1 + v, xx = 2 * b - pad + 1 + u;
        if (yy < 0 || yy >= h || xx < 0 || xx >= w) continue;
        act *out = dx + ((sample * h + yy) * w + xx) * p + c;
        for (int k = 0; k < 8; k++) s[k] = 0.f;
        if (add) load8(out, s);
        for (int y = 0; y <= v; y++) // window row a+y begins at row 2y-1 of the block
          for (int x = 0; x <= u; x++) {
            unsigned me = (v + 1 - 2 * y) * 3 + u + 1 - 2 * x;
            for (int k = 0; k < 8; k++)
              if ((won[y][x].w[k / 2] >> 16 * (k % 2) & 0xffffu) == me) s[k] += g[y][x][k];
          }
        store8(out, s);
      }
  }
}
EXPORT_FLAT(max_pool_back_3_2)

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
