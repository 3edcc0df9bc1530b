// norm.cu: batch normalisation fused with the ReLU and the sum behind it, over [n,H,W,P]. Batch-norm groups are contiguous
// chunks of per samples, along z (statistics) or y (the rest). Sums are float in a thread, which sees few rows, and double
// across threads, in an order that depends on shapes alone.
#include "cudev.h"

enum { LANES = 8, ROWS = 32 }; // a block sums 64 channels, 32 rows at a time

struct chunk { long long from, to; }; // rows of a group
DEVICE chunk rows_of(int g, int n, int per, int area) {
  long long from = (long long)g * per, to = from + per;
  if (from > n) from = n;
  if (to > n) to = n;
  chunk c = {from * area, to * area};
  return c;
}

// fold adds the 16 sums of every thread over the rows of the block and stores them: part[z][y][2][p].
DEVICE void fold(float *s, float (*sh)[LANES][16], float *part, int p) {
  int tx = threadIdx.x, ty = threadIdx.y, cg = blockIdx.x * LANES + tx;
  for (int k = 0; k < 16; k++) sh[ty][tx][k] = s[k];
  __syncthreads();
  for (int o = ROWS / 2; o > 0; o >>= 1) {
    if (ty < o)
      for (int k = 0; k < 16; k++) sh[ty][tx][k] += sh[ty + o][tx][k];
    __syncthreads();
  }
  if (ty == 0 && cg * 8 < p) {
    float *out = part + ((long long)blockIdx.z * gridDim.y + blockIdx.y) * 2 * p + cg * 8;
    store8(out, sh[0][tx]);
    store8(out + p, sh[0][tx] + 8);
  }
}

// norm_sums: partial Σ(x-shift) and Σ(x-shift)², shift being the first row of the group.
KERNEL(norm_sums)(const act *__restrict__ x, float *__restrict__ part, int n, int per, int area, int p) {
  __shared__ __align__(16) float sh[ROWS][LANES][16];
  chunk c = rows_of(blockIdx.z, n, per, area);
  int cg = blockIdx.x * LANES + threadIdx.x;
  float s[16], shift[8], f[8];
  for (int k = 0; k < 16; k++) s[k] = 0.f;
  if (cg * 8 < p && c.from < c.to) {
    load8(x + c.from * p + cg * 8, shift);
    for (long long r = c.from + blockIdx.y * ROWS + threadIdx.y; r < c.to; r += gridDim.y * ROWS) {
      load8(x + r * p + cg * 8, f);
      for (int k = 0; k < 8; k++) {
        float v = f[k] - shift[k];
        s[k] += v;
        s[8 + k] += v * v;
      }
    }
  }
  fold(s, sh, part, p);
}
EXPORT(norm_sums)

// gather_parts adds the partial sums of channel c of group g: a and b over y lanes, then over the block.
DEVICE void gather_parts(const float *part, double (*sh)[2][32], int g, int parts, int c, int p, double *a, double *b) {
  double sa = 0, sb = 0;
  int tx = threadIdx.x, ty = threadIdx.y;
  if (c < p)
    for (int k = ty; k < parts; k += blockDim.y) {
      const float *q = part + ((long long)g * parts + k) * 2 * p + c;
      sa += q[0];
      sb += q[p];
    }
  sh[ty][0][tx] = sa;
  sh[ty][1][tx] = sb;
  __syncthreads();
  for (int o = blockDim.y / 2; o > 0; o >>= 1) {
    if (ty < o) {
      sh[ty][0][tx] += sh[ty + o][0][tx];
      sh[ty][1][tx] += sh[ty + o][1][tx];
    }
    __syncthreads();
  }
  *a = sh[0][0][tx];
  *b = sh[0][1][tx];
}

// norm_stats: mean, 1/√(var+eps) and γ/√(var+eps) of every group, stat[3][groups][p], from the partial sums; the running
// statistics follow group 0, with the unbiased variance. γ and the running statistics may be missing.
KERNEL(norm_stats)(const act *__restrict__ x, const float *__restrict__ part, float *__restrict__ stat, const float *gamma,
                   float *run_mean, float *run_var, int n, int per, int area, int p, int parts, double eps, double momentum) {
  __shared__ double sh[8][2][32];
  int g = blockIdx.y, groups = gridDim.y, c = blockIdx.x * 32 + threadIdx.x;
  chunk rows = rows_of(g, n, per, area);
  double sum, sq;
  gather_parts(part, sh, g, parts, c, p, &sum, &sq);
  if (threadIdx.y != 0 || c >= p) return;
  float *mean_out = stat + (long long)g * p + c;
  long long step = (long long)groups * p;
  if (rows.from >= rows.to) { mean_out[0] = mean_out[step] = mean_out[2 * step] = 0.f; return; }
  double m = (double)(rows.to - rows.from), mean = sum / m, var = sq / m - mean * mean;
  if (var < 0) var = 0;
  mean += get(x[rows.from * p + c]);
  double inv = 1 / sqrt(var + eps);
  mean_out[0] = (float)mean;
  mean_out[step] = (float)inv;
  mean_out[2 * step] = (float)((gamma ? (double)gamma[c] : 1.0) * (double)(float)inv);
  if (g == 0 && run_mean) {
    double unbiased = var * m / (m > 1 ? m - 1 : 1);
    run_mean[c] = (float)((1 - momentum) * run_mean[c] + momentum * mean);
    run_var[c] = (float)((1 - momentum) * run_var[c] + momentum * unbiased);
  }
}
EXPORT(norm_stats)

// norm_running: the same from running statistics; stat[3][1][p].
KERNEL(norm_running)(const float *run_mean, const float *run_var, const float *gamma, float *stat, int p, double eps) {
  FOR_EACH(c, (long long)p) {
    double inv = 1 / sqrt((double)run_var[c] + eps);
    stat[c] = run_mean[c];
    stat[p + c] = (float)inv;
    stat[2 * p + c] = (float)((gamma ? (double)gamma[c] : 1.0) * (double)(float)inv);
  }
}
EXPORT_FLAT(norm_running)

// unit is what a normalised value is before ReLU and sum; forward and backward must agree on its sign.
DEVICE float unit(float x, float mean, float scale, float beta) { return __fmaf_rn(x - mean, scale, beta); }

// norm_apply: y = act((x-mean)·scale + β + res). mask, if there, keeps a bit a value that ReLU let through. x may be y.
KERNEL(norm_apply)(const act *x, const act *res, const float *__restrict__ stat, const float *__restrict__ beta, act *y,
                   unsigned char *__restrict__ mask, int n, int per, int area, int p, int relu) {
  int g = blockIdx.y, c8 = p / 8;
  const float *mean_in = stat + (long long)g * p, *scale_in = mean_in + 2LL * gridDim.y * p;
  chunk rows = rows_of(g, n, per, area);
  unsigned stride = gridDim.x * blockDim.x;
  int steady = stride % c8 == 0; // this thread stays with its channels
  float mean[8], scale[8], b[8], f[8], r[8];
  long long i = rows.from * c8 + (long long)blockIdx.x * blockDim.x + threadIdx.x;
  for (int first = 1; i < rows.to * c8; i += stride, first = 0) {
    if (first || !steady) {
      int c = (int)(i % c8) * 8;
      load8(mean_in + c, mean);
      load8(scale_in + c, scale);
      if (beta) load8(beta + c, b);
      else for (int k = 0; k < 8; k++) b[k] = 0.f;
    }
    load8(x + 8 * i, f);
    if (res) load8(res + 8 * i, r);
    unsigned bits = 0;
    for (int k = 0; k < 8; k++) {
      f[k] = unit(f[k], mean[k], scale[k], b[k]);
      if (res) f[k] += r[k];
      if (relu) {
        bits |= (f[k] > 0.f ? 1u : 0u) << k;
        f[k] = f[k] < 0.f ? 0.f : f[k];
      }
    }
    store8(y + 8 * i, f);
    if (mask) mask[i] = (unsigned char)bits;
  }
}
EXPORT_FLAT(norm_apply)

// dz is the gradient behind ReLU: dy where the forward value was positive. relu: 0 none, 1 the sign comes from x again,
// 2 from mask.
DEVICE void dz8(float *g, const float *f, const float *mean, const float *scale, const float *beta, unsigned bits, int relu) {
  for (int k = 0; k < 8; k++) {
    int on = relu == 0 ? 1 : relu == 1 ? unit(f[k], mean[k], scale[k], beta[k]) > 0.f : (bits >> k) & 1;
    if (!on) g[k] = 0.f;
  }
}

// norm_back_sums: partial Σdz and Σdz·(x-mean).
KERNEL(norm_back_sums)(const act *__restrict__ x, const act *__restrict__ dy, const unsigned char *__restrict__ mask, const float *__restrict__ stat,
                       const float *__restrict__ beta, float *__restrict__ part, int n, int per, int area, int p, int relu) {
  __shared__ __align__(16) float sh[ROWS][LANES][16];
  chunk rows = rows_of(blockIdx.z, n, per, area);
  int cg = blockIdx.x * LANES + threadIdx.x, c = cg * 8, c8 = p / 8;
  float s[16], mean[8], scale[8], b[8], f[8], d[8];
  for (int k = 0; k < 16; k++) s[k] = 0.f;
  if (c < p) {
    const float *mean_in = stat + (long long)blockIdx.z * p;
    load8(mean_in + c, mean);
    load8(mean_in + 2LL * gridDim.z * p + c, scale);
    if (beta) load8(beta + c, b);
    else for (int k = 0; k < 8; k++) b[k] = 0.f;
    for (long long r = rows.from + blockIdx.y * ROWS + threadIdx.y; r < rows.to; r += gridDim.y * ROWS) {
      load8(x + r * p + c, f);
      load8(dy + r * p + c, d);
      dz8(d, f, mean, scale, b, relu == 2 ? mask[r * c8 + cg] : 0u, relu);
      for (int k = 0; k < 8; k++) {
        s[k] += d[k];
        s[8 + k] += d[k] * (f[k] - mean[k]);
      }
    }
  }
  fold(s, sh, part, p);
}
EXPORT(norm_back_sums)

// norm_back_stats: coef[2][groups][p], the mean of dz and what multiplies x-mean, both zero when the statistics are not the
// batch's; adds the gradients of γ and β over the groups.
KERNEL(norm_back_stats)(const float *__restrict__ part, const float *__restrict__ stat, float *__restrict__ coef, float *dgamma, float *dbeta,
                        int n, int per, int area, int p, int parts, int groups, int batch) {
  __shared__ double sh[8][2][32];
  int c = blockIdx.x * 32 + threadIdx.x;
  double dg = 0, db = 0;
  for (int g = 0; g < groups; g++) {
    chunk rows = rows_of(g, n, per, area);
    double sum, dot;
    gather_parts(part, sh, g, parts, c, p, &sum, &dot);
    if (threadIdx.y == 0 && c < p) {
      double m = (double)(rows.to - rows.from), inv = stat[((long long)groups + g) * p + c], a = stat[(2LL * groups + g) * p + c];
      float mean_dz = 0.f, slope = 0.f;
      if (batch && m > 0) {
        mean_dz = (float)(sum / m);
        slope = (float)(-a * dot / m * inv * inv);
      }
      coef[(long long)g * p + c] = mean_dz;
      coef[((long long)groups + g) * p + c] = slope;
      if (m > 0) { dg += dot * inv; db += sum; }
    }
    __syncthreads();
  }
  if (threadIdx.y == 0 && c < p && dgamma) {
    dgamma[c] += (float)dg;
    dbeta[c] += (float)db;
  }
}
EXPORT(norm_back_stats)

// norm_back_apply: dx (+)= scale·(dz - mean_dz) + slope·(x-mean), and dres (+)= dz. Either may be missing.
KERNEL(norm_back_apply)(const act *__restrict__ x, const act *__restrict__ dy, const unsigned char *__restrict__ mask, const float *__restrict__ stat,
                        const float *__restrict__ coef, const float *__restrict__ beta, act *dx, act *dres, int n, int per, int area, int p,
                        int relu, int add_dx, int add_res) {
  int g = blockIdx.y, c8 = p / 8;
  long long step = (long long)gridDim.y * p;
  const float *st = stat + (long long)g * p, *co = coef + (long long)g * p;
  chunk rows = rows_of(g, n, per, area);
  unsigned stride = gridDim.x * blockDim.x;
  int steady = stride % c8 == 0;
  float mean[8], scale[8], b[8], c1[8], c2[8], f[8], d[8], old[8];
  long long i = rows.from * c8 + (long long)blockIdx.x * blockDim.x + threadIdx.x;
  for (int first = 1; i < rows.to * c8; i += stride, first = 0) {
    if (first || !steady) {
      int c = (int)(i % c8) * 8;
      load8(st + c, mean);
      load8(st + 2 * step + c, scale);
      load8(co + c, c1);
      load8(co + step + c, c2);
      if (beta) load8(beta + c, b);
      else for (int k = 0; k < 8; k++) b[k] = 0.f;
    }
    load8(x + 8 * i, f);
    load8(dy + 8 * i, d);
    dz8(d, f, mean, scale, b, relu == 2 ? mask[i] : 0u, relu);
    if (dres) {
      if (add_res) load8(dres + 8 * i, old);
      for (int k = 0; k < 8; k++) old[k] = d[k] + (add_res ? old[k] : 0.f);
      store8(dres + 8 * i, old);
    }
    if (dx) {
      if (add_dx) load8(dx + 8 * i, old);
      for (int k = 0; k < 8; k++) d[k] = scale[k] * (d[k] - c1[k]) + c2[k] * (f[k] - mean[k]) + (add_dx ? old[k] : 0.f);
      store8(dx + 8 * i, d);
    }
  }
}
EXPORT_FLAT(norm_back_apply)

// bias_sums: partial column sums of dy over rows, part[y][2][p], the second half zero.
KERNEL(bias_sums)(const act *__restrict__ dy, float *__restrict__ part, long long rows, int p) {
  __shared__ __align__(16) float sh[ROWS][LANES][16];
  int cg = blockIdx.x * LANES + threadIdx.x;
  float s[16], d[8];
  for (int k = 0; k < 16; k++) s[k] = 0.f;
  if (cg * 8 < p)
    for (long long r = blockIdx.y * ROWS + threadIdx.y; r < rows; r += gridDim.y * ROWS) {
      load8(dy + r * p + cg * 8, d);
      for (int k = 0; k < 8; k++) s[k] += d[k];
    }
  fold(s, sh, part, p);
}
EXPORT(bias_sums)

// bias_add: dbias[c] += Σ of the partial sums.
KERNEL(bias_add)(const float *__restrict__ part, float *dbias, int p, int parts) {
  __shared__ double sh[8][2][32];
  int c = blockIdx.x * 32 + threadIdx.x;
  double sum, none;
  gather_parts(part, sh, 0, parts, c, p, &sum, &none);
  if (threadIdx.y == 0 && c < p) dbias[c] += (float)sum;
}
EXPORT(bias_add)
