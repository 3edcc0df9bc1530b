// l2norm.cu: rows of length one, one warp a row of p values, of which those from c on are zero.
#include "cudev.h"

// l2_norm: y = x/|x|; a zero row stays zero.
KERNEL(l2_norm)(const act *__restrict__ x, act *__restrict__ y, int p) {
  long long row = (long long)blockIdx.x * p;
  float s = 0.f;
  for (int i = threadIdx.x; i < p; i += 32) {
    float v = get(x[row + i]);
    s += v * v;
  }
  s = warp_sum(s);
  float inv = s == 0.f ? 0.f : (float)(1 / sqrt((double)s));
  for (int i = threadIdx.x; i < p; i += 32) y[row + i] = put(get(x[row + i]) * inv);
}
EXPORT(l2_norm)

// l2_norm_back: dx (+)= (dy - u(u·dy))/|x|, u = x/|x|; zero for a zero row. u is computed again, unrounded.
KERNEL(l2_norm_back)(const act *__restrict__ x, const act *__restrict__ dy, act *__restrict__ dx, int p, int add) {
  long long row = (long long)blockIdx.x * p;
  float s = 0.f, dot = 0.f;
  for (int i = threadIdx.x; i < p; i += 32) {
    float v = get(x[row + i]);
    s += v * v;
    dot += v * get(dy[row + i]);
  }
  s = warp_sum(s);
  dot = warp_sum(dot);
  float inv = s == 0.f ? 0.f : (float)(1 / sqrt((double)s));
  float along = dot * inv;
  for (int i = threadIdx.x; i < p; i += 32) {
    float v = (get(dy[row + i]) - get(x[row + i]) * inv * along) * inv;
    dx[row + i] = put(add ? get(dx[row + i]) + v : v);
  }
}
EXPORT(l2_norm_back)
