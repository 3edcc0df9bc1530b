// pixels.cu turns 8-bit RGB, as decoded and cropped, into the channels that a network reads: flip and colour jitter to the bit as
// the processor's 8-bit code does them, colour space, normalisation, mixture and padding in one pass. r holds a rendering:
// twelve numbers of an affine map, or of Lab's matrix; from twelve on scales and shifts of Lab, and from 32 on the light of
// the 256 levels.
#include "cudev.h"

// What is done to a picture first, as eight words: bit 0 mirrors, bit 1 makes gray, bit 2 jitters; the order of the four parts, a
// byte each; factors of brightness, contrast and saturation; the turn of the hue in 256ths; the mean lightness that contrast
// moves away from, which touch_means fills in.
struct touch_t { int flags, order; float factor[3]; int turn, mean, room; };

DEVICE int light8(int r, int g, int b) { return (19595 * r + 38470 * g + 7471 * b + 32768) >> 16; }
// blend8 moves a level away from, or towards, another by a factor.
DEVICE int blend8(int from, int v, float f) {
  float t = __fadd_rn((float)from, __fmul_rn(f, (float)(v - from)));
  if (f >= 0.f && f <= 1.f) return (int)t;
  return t <= 0.f ? 0 : t >= 255.f ? 255 : (int)t;
}
DEVICE int clamp8(int v) { return v < 0 ? 0 : v > 255 ? 255 : v; }
DEVICE int round8(int v, float k) { return clamp8((int)((double)__fmul_rn((float)v, k) + 0.5)); }
// hue8 turns the hue of a pixel through Pillow's 8-bit HSV: quotients in float, sums with constants in double.
DEVICE void hue8(int *c, int turn) {
  int r = c[0], g = c[1], b = c[2];
  int most = r > g ? r : g, least = r < g ? r : g;
  if (b > most) most = b;
  if (b < least) least = b;
  if (most == least) return; // gray has no hue
  float d = (float)(most - least), rc = (float)(most - r) / d, gc = (float)(most - g) / d, bc = (float)(most - b) / d, h;
  if (most == r) h = __fadd_rn(bc, -gc);
  else if (most == g) h = (float)((2.0 + (double)rc) - (double)bc);
  else h = (float)((4.0 + (double)gc) - (double)rc);
  double whole = (double)h / 6.0 + 1.0;
  float part = (float)(whole - (double)(int)whole);
  int hue = (clamp8((int)((double)part * 255.0)) + turn) & 255, s = clamp8((int)((double)(d / (float)most) * 255.0)), v = most;
  if (s == 0) { c[0] = c[1] = c[2] = v; return; }
  float x = __fmul_rn((float)hue, 6.f) / 255.f;
  int i = (int)x;
  float f = __fadd_rn(x, -(float)i), sat = (float)s / 255.f;
  int p = round8(v, __fadd_rn(1.f, -sat)), q = round8(v, __fadd_rn(1.f, -__fmul_rn(sat, f))),
      t = round8(v, __fadd_rn(1.f, -__fmul_rn(sat, __fadd_rn(1.f, -f))));
  switch (i % 6) {
    case 0: c[0] = v; c[1] = t; c[2] = p; break;
    case 1: c[0] = q; c[1] = v; c[2] = p; break;
    case 2: c[0] = p; c[1] = v; c[2] = t; break;
    case 3: c[0] = p; c[1] = q; c[2] = v; break;
    case 4: c[0] = t; c[1] = p; c[2] = v; break;
    default: c[0] = v; c[1] = p; c[2] = q;
  }
}
// jitter8 carries out the parts of a jitter up to one of them, all for 4.
DEVICE void jitter8(int *c, const touch_t &t, int until) {
  if (t.flags & 2) c[0] = c[1] = c[2] = light8(c[0], c[1], c[2]);
  if (!(t.flags & 4)) return;
  for (int k = 0; k < 4; k++) {
    int part = (t.order >> (8 * k)) & 255;
    if (part == until) return;
    if (part == 3) { hue8(c, t.turn); continue; }
    int from = part == 0 ? 0 : part == 1 ? t.mean : light8(c[0], c[1], c[2]);
    for (int j = 0; j < 3; j++) c[j] = blend8(from, c[j], t.factor[part]);
  }
}

// touch_means: the mean lightness of every picture as contrast meets it. A block takes a picture; whole numbers add up in any
// order.
KERNEL(touch_means)(const unsigned char *__restrict__ rgb, touch_t *__restrict__ touch, int area) {
  __shared__ unsigned part[256];
  const unsigned char *in = rgb + 3ll * blockIdx.x * area;
  touch_t t = touch[blockIdx.x];
  unsigned sum = 0; // 255 times 2^24 pixels fit
  for (int i = threadIdx.x; i < area; i += 256) {
    int c[3] = {in[3 * i], in[3 * i + 1], in[3 * i + 2]};
    jitter8(c, t, 1);
    sum += light8(c[0], c[1], c[2]);
  }
  part[threadIdx.x] = sum;
  for (unsigned n = 128; n > 0; n >>= 1) {
    __syncthreads();
    if (threadIdx.x < n) part[threadIdx.x] += part[threadIdx.x + n];
  }
  if (threadIdx.x == 0) touch[blockIdx.x].mean = (int)((double)part[0] / (double)area + 0.5);
}
EXPORT(touch_means)

// lab_root is the cube root of Lab with its line near zero; a step of Newton's after the exponential.
DEVICE float lab_root(float v) {
  if (!(v > 0.008856f)) return 7.787f * v + 16.f / 116.f;
  float y = expf(logf(v) * 0.33333333333f);
  return y - (y * y * y - v) / (3.f * y * y);
}

// pixel_of: the channels of pixel i of a picture.
DEVICE void pixel_of(const unsigned char *rgb, const touch_t *touch, long long picture, int i, int area, int width, const float *r, int lab, float *c) {
  int v[3];
  if (touch) {
    const touch_t t = touch[picture];
    if (t.flags & 1) i += width - 1 - 2 * (i % width);
    for (int k = 0; k < 3; k++) v[k] = rgb[3 * (picture * area + i) + k];
    jitter8(v, t, 4);
  } else {
    for (int k = 0; k < 3; k++) v[k] = rgb[3 * (picture * area + i) + k];
  }
  if (!lab) {
    for (int k = 0; k < 3; k++) c[k] = r[4 * k] * v[0] + r[4 * k + 1] * v[1] + r[4 * k + 2] * v[2] + r[4 * k + 3];
    return;
  }
  float f[3];
  for (int k = 0; k < 3; k++) f[k] = lab_root(r[4 * k] * r[32 + v[0]] + r[4 * k + 1] * r[32 + v[1]] + r[4 * k + 2] * r[32 + v[2]]);
  c[0] = f[1] * r[12] + r[15];
  c[1] = (f[0] - f[1]) * r[13] + r[16];
  c[2] = (f[1] - f[2]) * r[14] + r[17];
}

// A slot shows a picture, and is sample out of the pass, or -1 when it only lends pixels.
struct slot_t { int picture, out; };
// An act on slots of one group: 0 blends, 1 pastes a box, 2 fills it.
struct act_t { int kind, to, from; float own, other, value; int top, bottom, left, right; };

// render: dst[sample][pixel][0 … count) = channels c0, c1, c2 of its slot; the others of p are zero. Slots that acts connect are a
// group, groups[y] and groups[y+1] say where its slots and acts begin and end. Acts stay at their pixel, so a thread has all
// of its group's; planes [slots][area][3] is where a group of several slots lies meanwhile.
KERNEL(render)(const unsigned char *__restrict__ rgb, const touch_t *__restrict__ touch, const slot_t *__restrict__ slots, const int *__restrict__ groups,
               const act_t *__restrict__ acts, const float *__restrict__ r, float *__restrict__ planes, act *__restrict__ dst, int area, int width, int p, int lab,
               int count, int c0, int c1, int c2) {
  const int *g = groups + 2 * blockIdx.y;
  const int s0 = g[0], s1 = g[2], a0 = g[1], a1 = g[3];
  FOR_EACH(i, area) {
    float own[3];
    float *mine = own;
    for (int s = s0; s < s1; s++) {
      float c[3];
      pixel_of(rgb, touch, slots[s].picture, (int)i, area, width, r, lab, c);
      if (s1 - s0 > 1) mine = planes + 3 * ((long long)s * area + i);
      mine[0] = c[c0];
      mine[1] = c[c1];
      mine[2] = c[c2];
    }
    const int y = (int)i / width, x = (int)i % width;
    for (int a = a0; a < a1; a++) {
      const act_t m = acts[a];
      float *to = s1 - s0 > 1 ? planes + 3 * ((long long)m.to * area + i) : own;
      const float *from = s1 - s0 > 1 ? planes + 3 * ((long long)m.from * area + i) : own;
      const bool in = y >= m.top && y < m.bottom && x >= m.left && x < m.right;
      for (int k = 0; k < 3; k++) {
        if (m.kind == 0) to[k] = __fadd_rn(__fmul_rn(m.own, to[k]), __fmul_rn(m.other, from[k]));
        if (m.kind == 1) to[k] = in ? from[k] : __fmul_rn(m.value, to[k]);
        if (m.kind == 2 && in) to[k] = m.value;
      }
    }
    for (int s = s0; s < s1; s++) {
      if (slots[s].out < 0) continue;
      if (s1 - s0 > 1) mine = planes + 3 * ((long long)s * area + i);
      float f[8] = {mine[0], count > 1 ? mine[1] : 0.f, count > 2 ? mine[2] : 0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
      store8(dst + ((long long)slots[s].out * area + i) * p, f);
    }
  }
}
EXPORT_FLAT(render)
