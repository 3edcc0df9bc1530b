// bank.cu scores queries against rows of a bank. Every row is read once: similarity, what the loss makes of it, and its part
// of the query's gradient are found while it is in registers. A warp takes four rows at a time.
#include "cudev.h"

// columns of one block of contrast; blocks of a query are folded in order.
enum { COLUMNS = 1024, WARPS = 4, AHEAD = 4 };

// row_of is the bank row behind column j of query q: index [B,K+1], or the positives in column 0 and then the queue.
DEVICE const float *row_of(const float *rows, const float *positives, const int *index, long long q, long long j, int k, int d) {
  if (index) return rows + (long long)index[q * (k + 1) + j] * d;
  return j == 0 ? positives + q * d : rows + (j - 1) * d;
}

// take reads a lane's E values of a row of d, zero beyond it.
template <int E> DEVICE void take(const float *row, float *v, int d, int lane) {
  if (E >= 4 && d == 32 * E) {
    for (int e = 0; e < E; e += 4) {
      const words a = *(const words *)(row + lane * E + e);
      for (int k = 0; k < 4; k++) v[(e + k) % E] = __uint_as_float(a.w[k]);
    }
    return;
  }
  for (int e = 0; e < E; e++) v[e] = lane * E + e < d ? row[lane * E + e] : 0.f;
}

// contrast: mode 0 sums exp(s/T) alone; 1 is NCE: loss -ln(P₀/(P₀+c)) - Σ ln(c₀/(P+c)) with P = exp(s/T)/Z, c₀ = K/N and
// c = c₀+1e-7; 2 is softmax with the largest logit so far. part[q][x][d] is the gradient's sum, stat[q][x] = {largest logit,
// sum of exponentials, loss, s₀}.
template <int E> DEVICE void contrast(const float *queries, const float *rows, const float *positives, const int *index, const unsigned char *present,
                                      float *part, float *stat, int k, int d, int mode, float inv_t, float inv_z, float c0) {
  __shared__ float sums[WARPS][32 * E];
  __shared__ float stats[WARPS][4];
  long long q = blockIdx.y;
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  float x[E], sum[E], r[AHEAD][E], s[AHEAD];
  float most = __uint_as_float(0xff800000u), total = 0.f, loss = 0.f, zero = 0.f;
  float c = c0 + 1e-7f;
  for (int e = 0; e < E; e++) sum[e] = 0.f;
  long long from = (long long)blockIdx.x * COLUMNS, to = from + COLUMNS;
  if (to > k + 1) to = k + 1;
  int here = !present || present[q];
  if (here) {
    take<E>(queries + q * d, x, d, lane);
    for (long long j = from + warp * AHEAD; j < to; j += WARPS * AHEAD) {
      int n = to - j < AHEAD ? (int)(to - j) : AHEAD;
      for (int a = 0; a < AHEAD; a++)
        if (a < n) take<E>(row_of(rows, positives, index, q, j + a, k, d), r[a], d, lane);
        else for (int e = 0; e < E; e++) r[a][e] = 0.f;
      for (int a = 0; a < AHEAD; a++) {
        s[a] = 0.f;
        for (int e = 0; e < E; e++) s[a] += x[e] * r[a][e];
      }
      for (int a = 0; a < AHEAD; a++) s[a] = warp_sum(s[a]);
      if (j == 0) zero = s[0];
      if (mode == 2) {
        float top = most;
        for (int a = 0; a < AHEAD; a++)
          if (a < n) top = fmaxf(top, s[a] * inv_t);
        if (top > most) {
          float shrink = expf(most - top);
          total *= shrink;
          for (int e = 0; e < E; e++) sum[e] *= shrink;
          most = top;
        }
      }
      for (int a = 0; a < AHEAD; a++) {
        if (a >= n) continue;
        float coef;
        if (mode == 2) {
          coef = expf(s[a] * inv_t - most);
          total += coef;
        } else {
          float p = expf(s[a] * inv_t);
          total += p;
          p *= inv_z;
          float inv = 1.f / (p + c);
          if (j + a == 0) { coef = -c * inv; loss -= logf(p * inv); }
          else { coef = p * inv; loss -= logf(c0 * inv); }
        }
        for (int e = 0; e < E; e++) sum[e] += coef * r[a][e];
      }
    }
  }
  for (int e = 0; e < E; e++) sums[warp][lane * E + e] = sum[e];
  if (lane == 0) { stats[warp][0] = most; stats[warp][1] = total; stats[warp][2] = loss; stats[warp][3] = zero; }
  __syncthreads();
  // the warps of the block, in order
  float scale[WARPS], top = stats[0][0];
  for (int w = 1; w < WARPS; w++) top = fmaxf(top, stats[w][0]);
  for (int w = 0; w < WARPS; w++) scale[w] = mode != 2 ? 1.f : stats[w][1] == 0.f ? 0.f : expf(stats[w][0] - top);
  long long out = q * gridDim.x + blockIdx.x;
  if (mode != 0)
    for (int i = threadIdx.x; i < d; i += 32 * WARPS) {
      float v = 0.f;
      for (int w = 0; w < WARPS; w++) v += scale[w] * sums[w][i];
      part[out * d + i] = v;
    }
  if (threadIdx.x == 0) {
    float t = 0.f, l = 0.f;
    for (int w = 0; w < WARPS; w++) { t += scale[w] * stats[w][1]; l += stats[w][2]; }
    float *st = stat + out * 4;
    st[0] = top; st[1] = t; st[2] = l; st[3] = stats[0][3];
  }
}
#define CONTRAST(E) \
  KERNEL(contrast_##E)(const float *queries, const float *rows, const float *positives, const int *index, const unsigned char *present, \
                       float *part, float *stat, int k, int d, int mode, float inv_t, float inv_z, float c0) { \
    contrast<E>(queries, rows, positives, index, present, part, stat, k, d, mode, inv_t, inv_z, c0); \
  } \
  EXPORT(contrast_##E)
CONTRAST(1)
CONTRAST(2)
CONTRAST(4)
CONTRAST(8)

// contrast_fold: the blocks of every query, in order: grad[q][d], and result[q] = {loss, s₀, sum of exponentials}.
KERNEL(contrast_fold)(const float *part, const float *stat, const float *rows, const float *positives, const int *index, const unsigned char *present,
                      float *grad, double *result, int k, int d, int blocks, int mode, float inv_t, float factor) {
  long long q = blockIdx.x;
  const float *st = stat + q * blocks * 4;
  float top = st[0];
  for (int b = 1; b < blocks; b++) top = fmaxf(top, st[4 * b]);
  double total = 0, loss = 0;
  for (int b = 0; b < blocks; b++) {
    float scale = mode == 2 ? expf(st[4 * b] - top) : 1.f;
    total += (double)scale * st[4 * b + 1];
    loss += st[4 * b + 2];
  }
  int here = !present || present[q];
  const float *own = row_of(rows, positives, index, q, 0, k, d);
  for (int i = threadIdx.x; i < d; i += blockDim.x) {
    float v = 0.f;
    if (here && mode != 0) {
      for (int b = 0; b < blocks; b++) v += (mode == 2 ? expf(st[4 * b] - top) : 1.f) * part[(q * blocks + b) * d + i];
      if (mode == 2) v = (float)(v / total) - own[i];
      v *= factor;
    }
    grad[q * d + i] = v;
  }
  if (threadIdx.x == 0) {
    if (mode == 2) loss = (double)top + logf((float)total) - (double)st[3] * inv_t;
    result[3 * q] = here ? loss : 0;
    result[3 * q + 1] = here ? st[3] : 0;
    result[3 * q + 2] = here ? total : 0;
  }
}
EXPORT_FLAT(contrast_fold)

// The generator of math/rand/v2 (PCG, XSL-less DXSM): a state of 128 bits, s = s·m + a, which can jump.
struct wide { unsigned long long hi, lo; };
DEVICE wide wide_mul(wide a, wide b) {
  wide r = {__umul64hi(a.lo, b.lo) + a.hi * b.lo + a.lo * b.hi, a.lo * b.lo};
  return r;
}
DEVICE wide wide_add(wide a, wide b) {
  wide r = {a.hi + b.hi, a.lo + b.lo};
  if (r.lo < a.lo) r.hi++;
  return r;
}
DEVICE wide pcg_step(wide s, wide m, wide a) { return wide_add(wide_mul(s, m), a); }
DEVICE unsigned long long pcg_out(wide s) {
  unsigned long long hi = s.hi;
  hi ^= hi >> 32;
  hi *= 0xda942042e4dd58b5ULL;
  hi ^= hi >> 48;
  return hi * (s.lo | 1);
}

// draw_rows: index[b][0] = ids[b]; the others are draws b·K … b·K+K-1 of the generator seeded with (seed, stream), as
// (draw>>32)·n>>32. A thread jumps to its first and draws 64.
KERNEL(draw_rows)(int *__restrict__ index, const int *__restrict__ ids, int batch, int k, unsigned long long seed, unsigned long long stream, unsigned long long n) {
  const wide m = {2549297995355413924ULL, 4865540595714422341ULL}, a = {6364136223846793005ULL, 1442695040888963407ULL};
  long long total = (long long)batch * k, pieces = (total + 63) / 64;
  FOR_EACH(i, pieces + batch) {
    if (i >= pieces) {
      long long b = i - pieces;
      index[b * (k + 1)] = ids[b];
      continue;
    }
    wide s = {seed, stream}, mul = m, add = a;
    for (unsigned long long jump = (unsigned long long)i * 64; jump; jump >>= 1) {
      if (jump & 1) s = pcg_step(s, mul, add);
      add = wide_add(wide_mul(mul, add), add);
      mul = wide_mul(mul, mul);
    }
    for (long long at = i * 64; at < i * 64 + 64 && at < total; at++) {
      s = pcg_step(s, m, a);
      index[at / k * (k + 1) + 1 + at % k] = (int)((pcg_out(s) >> 32) * n >> 32);
    }
  }
}
EXPORT_FLAT(draw_rows)

// memory_update: row = keep·row + take·x, of length one again; a zero result changes nothing. One warp an entry; entries of
// one id are the work of the first of them, in order.
KERNEL(memory_update)(float *rows, const float *x, const int *ids, const unsigned char *present, int batch, int d, float keep, float take) {
  int b = blockIdx.x, id = ids[b];
  for (int o = 0; o < b; o++)
    if (ids[o] == id) return;
  float *row = rows + (long long)id * d;
  for (int o = b; o < batch; o++) {
    if (ids[o] != id || (present && !present[o])) continue;
    float s = 0.f;
    for (int i = threadIdx.x; i < d; i += 32) {
      float v = __fadd_rn(__fmul_rn(keep, row[i]), __fmul_rn(take, x[(long long)o * d + i]));
      s += v * v;
    }
    s = warp_sum(s);
    if (s == 0.f) continue;
    float norm = (float)sqrt((double)s);
    for (int i = threadIdx.x; i < d; i += 32)
      row[i] = __fadd_rn(__fmul_rn(keep, row[i]), __fmul_rn(take, x[(long long)o * d + i])) / norm;
  }
}
EXPORT(memory_update)
