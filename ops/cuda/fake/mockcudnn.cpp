// mockcudnn.cpp is a strict libcudnn.so.9 for one-operation convolution graphs in NHWC: it checks every attribute's type
// and count, what Finalize needs, where pointers lie, and then convolves the plain way when the stream gets there. It
// offers four engines, of which one is right: the first is not deterministic and rounds its inputs (its results are off
// by design), the second is not supported, the fourth wants more workspace than it may have.
//
//   MOCKCUDNN_NOBETA=1  no engine adds to what is there; =2: that is said only when one is run
//   MOCKCUDNN_MORE=1    a fifth that refuses only when it is run, and a sixth that is right, so that there is something to time
#include "mock.h"

struct Attribute { int name, type; int64_t n; unsigned char v[128]; };
struct Desc { int kind, fin = 0, engine = 0; std::vector<Attribute> a; };
enum { CONV = 1, ENGINE = 2, CFG = 3, HEUR = 4, PLAN = 5, FWD = 10, WGRAD = 11, DGRAD = 12, GRAPH = 15, PACK = 16, TENSOR = 17, BAD = 2000, UNSUPPORTED = 3000 };
static char msg[256];
struct Handle { void *stream; };
static bool set(const char *name, char to = '1') { const char *v = getenv(name); return v && *v == to; }
static int bad(const char *s, int x) { snprintf(msg, sizeof msg, "mock: %s (%d)", s, x); return BAD; }
static const struct { int name, type, n; } rules[] = {
  {100, 1, 1}, {101, 7, 1}, {102, 3, 2}, {103, 3, 2}, {104, 3, 2}, {105, 3, 2}, {106, 3, 1}, {200, 8, 1}, {201, 15, 1}, {400, 0, 1}, {401, 15, 1},
  {700, 4, 1}, {701, 4, 1}, {702, 15, 1}, {703, 15, 1}, {704, 15, 1}, {705, 15, 1}, {706, 4, 1}, {707, 4, 1}, {708, 15, 1}, {709, 15, 1}, {710, 15, 1},
  {711, 15, 1}, {712, 4, 1}, {713, 4, 1}, {714, 15, 1}, {715, 15, 1}, {716, 15, 1}, {717, 15, 1}, {800, 0, 1}, {801, 15, 1}, {900, 3, 1}, {901, 1, 1},
  {902, 3, 4}, {903, 3, 4}, {906, 3, 1}, {1000, 3, 3}, {1001, 6, 3}, {1003, 6, 1}};
static const int needs[][8] = {{TENSOR, 900, 901, 902, 903, 906}, {CONV, 100, 101, 102, 103, 104, 105, 106}, {FWD, 700, 701, 702, 703, 704, 705},
  {DGRAD, 706, 707, 708, 709, 710, 711}, {WGRAD, 712, 713, 714, 715, 716, 717}, {GRAPH, 800, 801}, {HEUR, 200, 201}, {PLAN, 400, 401}, {PACK, 1000, 1001, 1003}};
static void *get(Desc *d, int name) { for (auto &a : d->a) if (a.name == name) return a.v; return 0; }
static Desc *sub(Desc *d, int name) { return *(Desc **)get(d, name); }

// A convolution, as its operation describes it.
struct Conv {
  int kind; float beta; bool bf;
  int64_t N, C, H, W, K, R, S, P, Q, pad[2], stride[2];
  Conv(Desc *op) {
    kind = op->kind;
    int o = kind == FWD ? 700 : kind == DGRAD ? 706 : 712;
    Desc *cd = sub(op, o + 2), *x = sub(op, kind == FWD ? 704 : kind == DGRAD ? 710 : 716), *w = sub(op, kind == FWD ? 703 : kind == DGRAD ? 709 : 715),
         *y = sub(op, kind == FWD ? 705 : kind == DGRAD ? 711 : 717);
    beta = *(float *)get(op, o + 1);
    bf = *(int *)get(x, 901) == 9;
    int64_t *xd = (int64_t *)get(x, 902), *wd = (int64_t *)get(w, 902), *yd = (int64_t *)get(y, 902);
    N = xd[0]; C = xd[1]; H = xd[2]; W = xd[3]; K = wd[0]; R = wd[2]; S = wd[3]; P = yd[2]; Q = yd[3];
    memcpy(pad, get(cd, 105), 16); memcpy(stride, get(cd, 103), 16);
  }
  size_t sizes(int i) const { return i == 0 ? N * H * W * C : i == 1 ? K * R * S * C : N * P * Q * K; }
  void run(void *const *ptrs, float error) const {
    Data x{ptrs[0], bf}, w{ptrs[1], bf}, y{ptrs[2], bf};
    int out = kind == FWD ? 2 : kind == DGRAD ? 0 : 1;
    std::vector<float> acc(sizes(out)); // few values a sum: shapes are small
    std::vector<float> xs(sizes(0)), ws(sizes(1)), ys(sizes(2));
    if (kind != DGRAD) for (size_t i = 0; i < xs.size(); i++) xs[i] = x.at(i);
    if (kind != WGRAD) for (size_t i = 0; i < ws.size(); i++) ws[i] = w.at(i);
    if (kind != FWD) for (size_t i = 0; i < ys.size(); i++) ys[i] = y.at(i);
    for (int64_t n = 0; n < N; n++) for (int64_t p = 0; p < P; p++) for (int64_t q = 0; q < Q; q++) for (int64_t r = 0; r < R; r++) for (int64_t s = 0; s < S; s++) {
      int64_t h = p * stride[0] - pad[0] + r, v = q * stride[1] - pad[1] + s;
      if (h < 0 || v < 0 || h >= H || v >= W) continue;
      size_t xi = ((n * H + h) * W + v) * C, yi = ((n * P + p) * Q + q) * K;
      for (int64_t k = 0; k < K; k++) {
        size_t wi = ((k * R + r) * S + s) * C;
        if (kind == FWD) { float t = 0; for (int64_t c = 0; c < C; c++) t += xs[xi + c] * ws[wi + c]; acc[yi + k] += t; }
        else if (kind == DGRAD) { float g = ys[yi + k]; if (g != 0) for (int64_t c = 0; c < C; c++) acc[xi + c] += g * ws[wi + c]; }
        else { float g = ys[yi + k]; if (g != 0) for (int64_t c = 0; c < C; c++) acc[wi + c] += g * xs[xi + c]; }
      }
    }
    Data o = out == 2 ? y : out == 0 ? x : w;
    for (size_t i = 0; i < acc.size(); i++) o.put(i, (float)acc[i] * (1 + error) + (beta ? beta * o.at(i) : 0));
  }
};

extern "C" {
int cudnnCreate(Handle **h) { *h = new Handle{}; return 0; }
int cudnnDestroy(Handle *h) { delete h; return 0; }
int cudnnSetStream(Handle *h, void *s) { h->stream = s; return 0; }
size_t cudnnGetVersion(void) { return 91900; }
void cudnnGetLastErrorString(char *b, size_t n) { snprintf(b, n, "%s", msg); }
int cudnnBackendCreateDescriptor(int k, Desc **d) { *d = new Desc{k}; return 0; }
int cudnnBackendDestroyDescriptor(Desc *d) { delete d; return 0; }
int cudnnBackendSetAttribute(Desc *d, int name, int type, int64_t n, const void *p) {
  if (d->fin) return bad("set after finalize", name);
  for (auto &r : rules) if (r.name == name) {
    if (r.type != type) return bad("wrong attribute type", name);
    if (r.n != n) return bad("wrong element count", name);
    Attribute a{name, type, n, {}};
    memcpy(a.v, p, (type == 1 || type == 7 || type == 8 || type == 4 ? 4 : 8) * n);
    d->a.push_back(a);
    return 0;
  }
  return bad("unknown attribute", name);
}
int cudnnBackendFinalize(Desc *d) {
  for (auto &n : needs) if (n[0] == d->kind) for (int j = 1; j < 8 && n[j]; j++) if (!get(d, n[j])) return bad("missing attribute", n[j]);
  if (d->kind == TENSOR) {
    int64_t *dim = (int64_t *)get(d, 902), *st = (int64_t *)get(d, 903);
    if (st[1] != 1 || st[3] != dim[1] || st[2] != dim[1] * dim[3] || st[0] != dim[1] * dim[2] * dim[3]) return bad("tensor is not packed NHWC", (int)dim[1]);
  }
  if (d->kind == PLAN) {
    Desc *cfg = sub(d, 401);
    if (cfg->engine == 1) { bad("engine not supported", 1); return UNSUPPORTED; }
    if (set("MOCKCUDNN_NOBETA") && Conv(sub(sub(cfg, 201), 801)).beta != 0) { bad("no accumulation", 0); return UNSUPPORTED; }
  }
  d->fin = 1;
  return 0;
}
int cudnnBackendGetAttribute(Desc *d, int name, int type, int64_t want, int64_t *n, void *p) {
  if (!d->fin) return bad("get before finalize", name);
  if (name == 202 && type == 15) {
    Desc **c = (Desc **)p;
    *n = *(int *)get(d, 200) == 2 ? 0 : set("MOCKCUDNN_MORE") ? 6 : 4; // nothing more in the fallback list
    if (*n > want) return bad("too few descriptors", (int)want);
    for (int i = 0; i < *n; i++) {
      if (!c[i] || c[i]->kind != CFG) return bad("engine configuration not created", i);
      c[i]->fin = 1; c[i]->engine = i;
      Attribute a{201, 15, 1, {}};
      memcpy(a.v, get(d, 201), 8);
      c[i]->a.push_back(a);
    }
    return 0;
  }
  if (name == 300 && d->kind == CFG) { Desc *e = *(Desc **)p; if (!e || e->kind != ENGINE) return bad("engine not created", 0); e->fin = 1; e->engine = d->engine; *n = 1; return 0; }
  if (name == 1303 && type == 11) { int *v = (int *)p; *n = 0; if (d->engine == 0) { v[0] = 0; v[1] = 1; v[2] = 4; *n = 3; } return 0; }
  if (name == 402 && type == 3) { *(int64_t *)p = sub(d, 401)->engine == 3 ? 1ll << 40 : 4096; *n = 1; return 0; }
  return bad("get unknown", name);
}
int cudnnBackendExecute(Handle *h, Desc *plan, Desc *vp) {
  if (!plan->fin || plan->kind != PLAN || !vp->fin || vp->kind != PACK) return bad("execute: not finalized", 0);
  Desc *cfg = sub(plan, 401);
  Conv c(sub(sub(cfg, 201), 801));
  std::vector<void *> ptrs((void **)get(vp, 1001), (void **)get(vp, 1001) + 3);
  char *ws = *(char **)get(vp, 1003);
  for (int i = 0; i < 3; i++) {
    if ((uintptr_t)ptrs[i] % 16) return bad("pointer is not aligned", i);
    if (!on_device(ptrs[i], c.sizes(i) * (c.bf ? 2 : 4))) return bad("tensor outside of device memory", i);
  }
  if (!on_device(ws, 4096)) return bad("workspace outside of device memory", 0);
  if (cfg->engine == 4 || (c.beta != 0 && set("MOCKCUDNN_NOBETA", '2'))) { bad("engine refuses to run", cfg->engine); return UNSUPPORTED; }
  float error = cfg->engine == 0 ? 0.05f : 0;
  return enqueue(h->stream, (c.bf ? 2.0 : 12.0) * c.N * c.P * c.Q * c.K * c.R * c.S * c.C, (c.sizes(0) + c.sizes(1) + c.sizes(2)) * (c.bf ? 2.0 : 4.0), [=] { memset(ws, 0xFF, 4096); c.run(ptrs.data(), error); return 0; });
}
}
