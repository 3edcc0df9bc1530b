// fakecuda.cpp is a libcuda.so.1 for machines without a GPU. Device memory is host memory, and a module is a shared library
// with kernels built for the processor. What is put on a stream runs as late as the program allows: when something waits
// for it. A missing event or synchronisation then gives wrong numbers instead of passing by luck.
//
//   FAKECUDA_ORDER=n    not as late as that, but in an order drawn with the seed n: for a while each stream runs ahead of the
//                       others, or late, or now and then, as far as its events let it. What relies on one stream being
//                       slow, say a copy that overwrites what a kernel still reads, then gives wrong numbers too
//   FAKECUDA_GUARD=1    device memory cannot be touched but by the driver: host code that does so faults
//   FAKECUDA_MEMORY=n   bytes of device memory, 16 GiB unless set
//   FAKECUDA_INIT=n     what cuInit returns
//   FAKECUDA_FAIL=name  launches of that kernel fail when they run
//   FAKECUDA_EVENTS=n   so many events can be made
#include <dlfcn.h>
#include <elf.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

typedef int R;
typedef unsigned long long P;
typedef std::function<R()> Op;
typedef std::function<const char *()> Bound;
struct Event;
typedef std::shared_ptr<Event> Held;
// Work only begins when the event that it awaits, if any, has reached the value. host is pinned memory that it reads or writes.
struct Work { Op run; Held awaited; uint64_t value = 0; const char *host = nullptr; size_t bytes = 0; };
enum { OK = 0, INVALID = 1, OUT_OF_MEMORY = 2, NO_DEVICE_ORDINAL = 101, BAD_IMAGE = 200, NO_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, LAUNCH_FAILED = 719, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901 };

static std::recursive_mutex mu;
static R broken; // the first failure of something that ran; every later call returns it, as on a real device
struct Graph { std::vector<Op> ops; bool spoilt = false; pthread_t thread = pthread_self(); };
struct Stream { std::deque<Work> ops; Graph *capture = nullptr; unsigned pace = 0; };
struct Event { unsigned flags = 0; uint64_t recorded = 0, done = 0; Stream *where = nullptr; timespec at{}; };
static Stream legacy;                          // the null stream: copies of pageable memory go there, and the others do not wait for it
static std::vector<Stream *> streams{&legacy};
static std::map<void *, Held> events;
static std::map<P, size_t> device;             // allocations
static std::map<uintptr_t, size_t> pinned;
static size_t used;
static thread_local void *current;

static bool guard() { static bool g = getenv("FAKECUDA_GUARD") && *getenv("FAKECUDA_GUARD") == '1'; return g; }
static size_t total() { static size_t t = getenv("FAKECUDA_MEMORY") ? strtoull(getenv("FAKECUDA_MEMORY"), 0, 10) : 1ull << 34; return t; }
static int depth;
struct Open { // device memory is accessible while one lives
  Open() { if (guard() && depth++ == 0) protect(PROT_READ | PROT_WRITE); }
  ~Open() { if (guard() && --depth == 0) protect(PROT_NONE); }
  static void protect(int how) { for (auto &a : device) mprotect((void *)a.first, (a.second + 4095) & ~4095ull, how); }
};
#define ENTER std::lock_guard<std::recursive_mutex> lock(mu); if (!current) return NO_CONTEXT; if (broken) return broken

// Between the beginning and the end of a capture its thread may not wait, allocate or copy in order with the host: it spoils the
// capture. Other threads may, as with a capture that is local to a thread.
static R spoil(const char *what) {
  for (auto s : streams) if (s->capture && pthread_equal(s->capture->thread, pthread_self())) { fprintf(stderr, "fakecuda: %s during a capture\n", what); s->capture->spoilt = true; return CAPTURE_UNSUPPORTED; }
  return OK;
}
#define NOT_CAPTURING ENTER; if (R r = spoil(__func__)) return r

static void reach(const Held &e, uint64_t v);
static bool step(Stream *s) {
  if (s->ops.empty()) return false;
  Work w = std::move(s->ops.front());
  s->ops.pop_front();
  if (w.awaited) reach(w.awaited, w.value);
  R r = w.run();
  if (r && !broken) broken = r;
  return true;
}
static R drain(Stream *s) {
  if (s->ops.empty()) return broken;
  Open open;
  while (step(s)) {}
  return broken;
}
static R drain_all() { for (auto s : streams) drain(s); return broken; }

// disorder lets streams run as far as the seed wants. It begins nothing that an event holds back.
static void disorder() {
  static const char *order = getenv("FAKECUDA_ORDER");
  if (!order || !*order) return;
  static std::mt19937 dice(atoi(order));
  static unsigned calls;
  if (calls++ % 64 == 0) for (auto s : streams) s->pace = dice() % 3;
  std::optional<Open> open;
  for (bool more = true; more;) { // a stream that gets on may let another one
    more = false;
    for (auto s : streams)
      for (unsigned n = s->pace == 0 ? 0 : s->pace == 1 ? -1u : dice() % 4; n-- && !s->ops.empty();) {
        Work &w = s->ops.front();
        if (w.awaited && w.awaited->done < w.value) break;
        if (!open) open.emplace();
        more |= s->pace == 1;
        step(s);
      }
  }
}
static R push(void *stream, Work w) {
  Stream *s = stream ? (Stream *)stream : &legacy;
  if (s->capture) { s->capture->ops.push_back(w.run); return OK; }
  s->ops.push_back(std::move(w));
  disorder();
  return broken;
}
static R push(void *stream, Op op, const void *host = nullptr, size_t n = 0) { return push(stream, Work{std::move(op), {}, 0, (const char *)host, n}); }
static void reach(const Held &e, uint64_t v) {
  if (e->done >= v) return;
  Open open;
  while (e->done < v && e->where && step(e->where)) {}
}

// inside says that [p, p+n) lies in one device allocation.
static bool inside(P p, size_t n) {
  auto it = device.upper_bound(p);
  if (it == device.begin()) return false;
  --it;
  return p + n <= it->first + it->second;
}
static bool is_pinned(const void *p, size_t n) {
  auto it = pinned.upper_bound((uintptr_t)p);
  if (it == pinned.begin()) return false;
  --it;
  return (uintptr_t)p + n <= it->first + it->second;
}
static R refuse(const char *why, R r = INVALID) { fprintf(stderr, "fakecuda: %s\n", why); return r; }
static Held event(void *e) { auto it = events.find(e); return it == events.end() ? nullptr : it->second; }

extern "C" {
// for the mock libraries
int fake_enqueue(void *stream, std::function<int()> *f) { auto own = std::shared_ptr<std::function<int()>>(f); ENTER; return push(stream, [own] { return (*own)(); }); }
int fake_inside(P p, size_t n) { std::lock_guard<std::recursive_mutex> lock(mu); return inside(p, n); }
// for tests: bytes of pinned memory
size_t fake_pinned(void) { std::lock_guard<std::recursive_mutex> lock(mu); size_t n = 0; for (auto &p : pinned) n += p.second; return n; }

R cuInit(unsigned) { const char *e = getenv("FAKECUDA_INIT"); return e ? atoi(e) : OK; }
R cuDriverGetVersion(int *v) { *v = 13000; return OK; }
R cuGetErrorString(R r, const char **s) { *s = r == OUT_OF_MEMORY ? "out of memory" : r == LAUNCH_FAILED ? "unspecified launch failure" : "an error of the fake driver"; return OK; }
R cuDeviceGetCount(int *n) { *n = 1; return OK; }
R cuDeviceGet(int *d, int i) { *d = i; return i ? NO_DEVICE_ORDINAL : OK; }
R cuDeviceGetName(char *b, int n, int) { snprintf(b, n, "fake GPU"); return OK; }
R cuDeviceTotalMem_v2(size_t *b, int) { *b = total(); return OK; }
R cuDeviceGetAttribute(int *v, int a, int) { *v = a == 75 ? 9 : a == 76 ? 0 : a == 16 ? 132 : a == 10 ? 32 : a == 1 ? 1024 : a == 97 ? 232448 : 0; return OK; }
R cuDevicePrimaryCtxRetain(void **c, int) { static char primary; *c = &primary; return OK; }
R cuDevicePrimaryCtxRelease_v2(int) { return OK; }
R cuCtxSetCurrent(void *c) { current = c; return OK; }
R cuCtxGetCurrent(void **c) { *c = current; return OK; }
R cuCtxSynchronize(void) { NOT_CAPTURING; return drain_all(); }

R cuMemAlloc_v2(P *p, size_t n) {
  NOT_CAPTURING;
  if (!n) return INVALID;
  if (used + n > total()) return OUT_OF_MEMORY;
  size_t pages = (n + 4095) & ~4095ull;
  char *m = (char *)mmap(0, pages + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m == MAP_FAILED) return OUT_OF_MEMORY;
  if (n <= 64 << 20) memset(m, 0xFF, n); // NaN to whoever reads what was never written
  mprotect(m + pages, 4096, PROT_NONE);
  if (guard()) mprotect(m, pages, PROT_NONE);
  device[(P)m] = n;
  used += n;
  *p = (P)m;
  return OK;
}
R cuMemFree_v2(P p) {
  NOT_CAPTURING;
  drain_all();
  auto it = device.find(p);
  if (it == device.end()) return INVALID;
  munmap((void *)p, ((it->second + 4095) & ~4095ull) + 4096);
  used -= it->second;
  device.erase(it);
  return OK;
}
R cuMemGetInfo_v2(size_t *f, size_t *t) { ENTER; *f = total() - used; *t = total(); return OK; }
R cuMemHostAlloc(void **p, size_t n, unsigned) { NOT_CAPTURING; *p = aligned_alloc(4096, (n + 4095) & ~4095ull); if (!*p) return OUT_OF_MEMORY; memset(*p, 0xFF, n); pinned[(uintptr_t)*p] = n; return OK; }
R cuMemFreeHost(void *p) { // nothing says that it waits
  NOT_CAPTURING;
  auto it = pinned.find((uintptr_t)p);
  if (it == pinned.end()) return INVALID;
  for (auto s : streams) for (auto &w : s->ops) if (w.host < (char *)p + it->second && w.host + w.bytes > (char *)p) return refuse("pinned memory is freed that a copy is still to use");
  pinned.erase(it);
  free(p);
  return OK;
}

// A copy from pageable memory returns when that is read, which may be before it is on the device.
R cuMemcpyHtoD_v2(P d, const void *s, size_t n) {
  NOT_CAPTURING;
  if (!inside(d, n)) return refuse("copy to outside of device memory");
  std::string read((const char *)s, n);
  return push(nullptr, [=] { memcpy((void *)d, read.data(), n); return OK; });
}
R cuMemcpyDtoH_v2(void *d, P s, size_t n) { NOT_CAPTURING; if (!inside(s, n)) return refuse("copy from outside of device memory"); drain(&legacy); Open o; memcpy(d, (void *)s, n); return OK; }
R cuMemcpyHtoDAsync_v2(P d, const void *s, size_t n, void *st) {
  ENTER;
  if (!inside(d, n)) return refuse("copy to outside of device memory");
  if (!is_pinned(s, n)) return refuse("asynchronous copy from memory that is not pinned");
  return push(st, [=] { memcpy((void *)d, s, n); return OK; }, s, n);
}
R cuMemcpyDtoHAsync_v2(void *d, P s, size_t n, void *st) {
  ENTER;
  if (!inside(s, n)) return refuse("copy from outside of device memory");
  if (!is_pinned(d, n)) return refuse("asynchronous copy to memory that is not pinned");
  return push(st, [=] { memcpy(d, (void *)s, n); return OK; }, d, n);
}
R cuMemcpyDtoDAsync_v2(P d, P s, size_t n, void *st) { ENTER; if (!inside(s, n) || !inside(d, n)) return refuse("copy outside of device memory"); if (s < d + n && d < s + n) return refuse("copy onto itself"); return push(st, [=] { memcpy((void *)d, (void *)s, n); return OK; }); }
R cuMemsetD8Async(P d, unsigned char v, size_t n, void *st) { ENTER; if (!inside(d, n)) return refuse("memset outside of device memory"); return push(st, [=] { memset((void *)d, v, n); return OK; }); }
R cuMemsetD32Async(P d, unsigned v, size_t n, void *st) { ENTER; if (!inside(d, 4 * n)) return refuse("memset outside of device memory"); return push(st, [=] { for (size_t i = 0; i < n; i++) ((unsigned *)d)[i] = v; return OK; }); }

R cuStreamCreate(void **s, unsigned) { ENTER; auto x = new Stream; streams.push_back(x); *s = x; return OK; }
R cuStreamCreateWithPriority(void **s, unsigned f, int) { return cuStreamCreate(s, f); }
R cuStreamDestroy_v2(void *s) { NOT_CAPTURING; drain((Stream *)s); std::erase(streams, (Stream *)s); delete (Stream *)s; return OK; }
R cuStreamSynchronize(void *s) { NOT_CAPTURING; return drain(s ? (Stream *)s : &legacy); }
R cuStreamQuery(void *s) { ENTER; return ((Stream *)s)->ops.empty() ? OK : NOT_READY; }
#define EVENT(x, e) Held x = event(e); if (!x) return refuse("there is no such event", INVALID_HANDLE)
R cuStreamWaitEvent(void *s, void *e, unsigned) { NOT_CAPTURING; EVENT(x, e); uint64_t v = x->recorded; return push(s, Work{[] { return (R)OK; }, x, v}); }
R cuEventCreate(void **e, unsigned flags) {
  ENTER;
  static long left = getenv("FAKECUDA_EVENTS") ? atol(getenv("FAKECUDA_EVENTS")) : LONG_MAX;
  if (left-- <= 0) return OUT_OF_MEMORY;
  auto x = std::make_shared<Event>(); x->flags = flags;
  events[*e = x.get()] = x;
  return OK;
}
R cuEventDestroy_v2(void *e) { NOT_CAPTURING; EVENT(x, e); events.erase(e); return OK; } // what is on a stream keeps it
R cuEventRecord(void *e, void *s) { NOT_CAPTURING; EVENT(x, e); uint64_t v = ++x->recorded; x->where = s ? (Stream *)s : &legacy; return push(s, [=] { x->done = v; clock_gettime(CLOCK_MONOTONIC, &x->at); return OK; }); }
R cuEventSynchronize(void *e) { NOT_CAPTURING; EVENT(x, e); reach(x, x->recorded); return broken; }
R cuEventQuery(void *e) { NOT_CAPTURING; EVENT(x, e); if (x->done < x->recorded && x->where) { Open open; step(x->where); } return x->done < x->recorded ? NOT_READY : broken; }
R cuEventElapsedTime(float *ms, void *a, void *b) {
  ENTER;
  EVENT(x, a);
  EVENT(y, b);
  if (!x->recorded || !y->recorded || (x->flags | y->flags) & 2) return refuse("time between events of which one was never recorded, or takes no time", INVALID_HANDLE);
  if (x->done < x->recorded || y->done < y->recorded) return NOT_READY;
  *ms = (y->at.tv_sec - x->at.tv_sec) * 1e3f + (y->at.tv_nsec - x->at.tv_nsec) / 1e6f;
  return OK;
}

R cuStreamBeginCapture_v2(void *s, int) { NOT_CAPTURING; ((Stream *)s)->capture = new Graph; return OK; }
R cuStreamEndCapture(void *s, void **g) {
  ENTER;
  Graph *made = ((Stream *)s)->capture;
  ((Stream *)s)->capture = nullptr;
  if (!made) return INVALID;
  if (made->spoilt || made->ops.empty()) { *g = nullptr; delete made; return CAPTURE_INVALIDATED; }
  *g = made;
  return OK;
}
R cuGraphInstantiateWithFlags(void **e, void *g, unsigned long long) { ENTER; *e = new Graph(*(Graph *)g); return OK; }
R cuGraphLaunch(void *e, void *s) { NOT_CAPTURING; auto ops = ((Graph *)e)->ops; return push(s, [ops] { for (auto &o : ops) if (R r = o()) return r; return (R)OK; }); }
R cuGraphDestroy(void *g) { ENTER; delete (Graph *)g; return OK; }
R cuGraphExecDestroy(void *g) { ENTER; delete (Graph *)g; return OK; }

R cuModuleLoadData(void **m, const void *image) {
  NOT_CAPTURING;
  const Elf64_Ehdr *h = (const Elf64_Ehdr *)image;
  if (memcmp(h->e_ident, ELFMAG, SELFMAG)) { fprintf(stderr, "fakecuda: the module is no shared library\n"); return BAD_IMAGE; }
  size_t n = h->e_shoff + (size_t)h->e_shnum * h->e_shentsize;
  int fd = memfd_create("kernels", 0);
  for (size_t at = 0; at < n;) {
    ssize_t k = write(fd, (const char *)image + at, n - at);
    if (k <= 0) return BAD_IMAGE;
    at += k;
  }
  std::string path = "/proc/self/fd/" + std::to_string(fd);
  *m = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!*m) { fprintf(stderr, "fakecuda: %s\n", dlerror()); return BAD_IMAGE; }
  return OK;
}
R cuModuleUnload(void *) { return OK; }
struct Function { void *(*bind)(unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void **); std::string name; };
R cuModuleGetFunction(void **f, void *m, const char *name) { // which may load its code
  NOT_CAPTURING;
  auto bind = (decltype(Function::bind))dlsym(m, (std::string("cpu_bind_") + name).c_str());
  if (!bind) return NOT_FOUND;
  *f = new Function{bind, name};
  return OK;
}
R cuFuncSetAttribute(void *, int, int) { return OK; }
R cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *s, void **p, void **) {
  ENTER;
  Function *fn = (Function *)f;
  if (bx * by * bz > 1024 || !gx || !gy || !gz || gy > 65535 || gz > 65535 || shared) return refuse(("launch of " + fn->name + " with sizes no device takes").c_str());
  auto bound = std::shared_ptr<Bound>((Bound *)fn->bind(gx, gy, gz, bx, by, bz, p));
  std::string name = fn->name;
  static const char *fails = getenv("FAKECUDA_FAIL");
  return push(s, [=] {
    const char *err = fails && name == fails ? "told to fail" : (*bound)();
    if (err) fprintf(stderr, "fakecuda: %s: %s\n", name.c_str(), err);
    return err ? LAUNCH_FAILED : OK;
  });
}
}
