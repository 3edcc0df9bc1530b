// pixels.cu turns 8-bit RGB, as decoded, cropped and flipped, into the channels that a network reads: colour space,
// normalisation and padding in one pass. r holds a rendering: twelve numbers of an affine map, or of Lab's matrix; from twelve
// on scales and shifts of Lab, and from 32 on the light of the 256 levels.
#include "cudev.h"

// lab_root is the cube root of Lab with its line near zero; a step of Newton's after the exponential.
DEVICE float lab_root(float v) {
  if (!(v > 0.008856f)) return 7.787f * v + 16.f / 116.f;
  float y = expf(logf(v) * 0.33333333333f);
  return y - (y * y * y - v) / (3.f * y * y);
}

// render: dst[pixel][0 … count) = channels c0, c1, c2 of the pixel; the others of p are zero.
KERNEL(render)(const unsigned char *__restrict__ rgb, const float *__restrict__ r, act *__restrict__ dst, long long pixels, int p, int lab, int count,
               int c0, int c1, int c2) {
  FOR_EACH(i, pixels) {
    const unsigned char *in = rgb + 3 * i;
    float c[3], f[8];
    if (lab) {
      float light[3], f3[3];
      for (int k = 0; k < 3; k++) light[k] = r[32 + in[k]];
      for (int k = 0; k < 3; k++) f3[k] = lab_root(r[4 * k] * light[0] + r[4 * k + 1] * light[1] + r[4 * k + 2] * light[2]);
      float fx = f3[0], fy = f3[1], fz = f3[2];
      c[0] = fy * r[12] + r[15];
      c[1] = (fx - fy) * r[13] + r[16];
      c[2] = (fy - fz) * r[14] + r[17];
    } else {
      for (int k = 0; k < 3; k++) c[k] = r[4 * k] * in[0] + r[4 * k + 1] * in[1] + r[4 * k + 2] * in[2] + r[4 * k + 3];
    }
    f[0] = c[c0];
    f[1] = count > 1 ? c[c1] : 0.f;
    f[2] = count > 2 ? c[c2] : 0.f;
    for (int k = 3; k < 8; k++) f[k] = 0.f;
    store8(dst + i * p, f);
  }
}
EXPORT_FLAT(render)
