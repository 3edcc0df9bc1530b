// mockcublaslt.cpp is a libcublasLt.so for plain matrix products with an optional bias, column major as the real one. Matrices are where
// the algorithm that was chosen may expect them: nobody said that they are aligned to less than 256 bytes.
#include "mock.h"

struct Desc { int compute, scale, ta = 0, tb = 0, epilogue = 1, bias_type = -1; void *bias = 0; };
struct Layout { int type; uint64_t rows, cols; int64_t ld; };
struct Preference { uint64_t workspace = 0; };
struct Result { uint64_t algo[8]; size_t workspace; int state; float waves; int reserved[4]; };
static bool bf(int type) { return type == 14; }
static size_t bytes(const Layout *l) { return (size_t)l->ld * l->cols * (bf(l->type) ? 2 : 4); }

extern "C" {
int cublasLtCreate(void **h) { *h = (void *)0x78; return 0; }
int cublasLtDestroy(void *) { return 0; }
size_t cublasLtGetVersion(void) { return 130000; }
int cublasLtMatmulDescCreate(Desc **d, int compute, int scale) { if (scale != 0) return 7; *d = new Desc{compute, scale}; return 0; }
int cublasLtMatmulDescDestroy(Desc *d) { delete d; return 0; }
int cublasLtMatmulDescSetAttribute(Desc *d, int a, const void *p, size_t n) {
  switch (a) {
    case 3: if (n != 4) return 7; d->ta = *(int *)p; return 0;
    case 4: if (n != 4) return 7; d->tb = *(int *)p; return 0;
    case 7: if (n != 4) return 7; d->epilogue = *(int *)p; return 0;
    case 8: if (n != 8) return 7; d->bias = *(void **)p; return 0;
    case 26: if (n != 4) return 7; d->bias_type = *(int *)p; return 0;
  }
  return 7;
}
int cublasLtMatrixLayoutCreate(Layout **l, int type, uint64_t rows, uint64_t cols, int64_t ld) { if (ld < (int64_t)rows) return 7; *l = new Layout{type, rows, cols, ld}; return 0; }
int cublasLtMatrixLayoutDestroy(Layout *l) { delete l; return 0; }
int cublasLtMatmulPreferenceCreate(Preference **p) { *p = new Preference; return 0; }
int cublasLtMatmulPreferenceDestroy(Preference *p) { delete p; return 0; }
int cublasLtMatmulPreferenceSetAttribute(Preference *p, int a, const void *v, size_t n) { if (a != 1 || n != 8) return 7; p->workspace = *(uint64_t *)v; return 0; }
int cublasLtMatmulAlgoGetHeuristic(void *, Desc *, Layout *, Layout *, Layout *, Layout *, Preference *p, int want, Result *r, int *got) {
  if (p->workspace < 4096 || want < 1) { *got = 0; return 15; }
  memset(r, 0, sizeof *r);
  r->algo[0] = 0xA160; r->workspace = 4096;
  *got = 1;
  return 0;
}
int cublasLtMatmul(void *, Desc *d, const float *alpha, const void *A, Layout *la, const void *B, Layout *lb, const float *beta, const void *C, Layout *lc, void *D, Layout *ld,
                   const uint64_t *algo, void *ws, size_t wsize, void *stream) {
  uint64_t m = d->ta ? la->cols : la->rows, k = d->ta ? la->rows : la->cols, n = d->tb ? lb->rows : lb->cols;
  if ((d->tb ? lb->cols : lb->rows) != k || ld->rows != m || ld->cols != n || lc->rows != m || lc->cols != n || algo[0] != 0xA160 || wsize < 4096) return 7;
  if (!on_device(A, bytes(la)) || !on_device(B, bytes(lb)) || !on_device(D, bytes(ld)) || !on_device(ws, 4096)) return 14;
  for (const void *p : {A, B, C, (const void *)D}) if ((uintptr_t)p % 256) { fprintf(stderr, "mock cuBLASLt: %p is not aligned to 256 bytes\n", p); return 14; }
  if (d->epilogue == 4 && (!d->bias || !on_device(d->bias, m * (bf(d->bias_type) ? 2 : 4)))) return 14;
  Desc op = *d;
  Layout a = *la, b = *lb, o = *ld;
  float al = *alpha, be = *beta;
  return enqueue(stream, (bf(la->type) ? 2.0 : 12.0) * m * n * k, bytes(la) + bytes(lb) + bytes(ld), [=] {
    memset(ws, 0xFF, 4096);
    Data x{(void *)A, bf(a.type)}, y{(void *)B, bf(b.type)}, z{D, bf(o.type)}, bias{op.bias, bf(op.bias_type)};
    for (uint64_t j = 0; j < n; j++) for (uint64_t i = 0; i < m; i++) {
      double s = 0;
      for (uint64_t l = 0; l < k; l++) s += (double)x.at(op.ta ? l + i * a.ld : i + l * a.ld) * y.at(op.tb ? j + l * b.ld : l + j * b.ld);
      s = al * s + (be ? be * z.at(i + j * o.ld) : 0);
      if (op.epilogue == 4) s += bias.at(i);
      z.put(i + j * o.ld, (float)s);
    }
    return 0;
  });
}
}
