// timedcuda.cpp is a libcuda.so.1 that computes nothing and takes its time: every piece of work has a length by a model of a
// GPU, every call into the driver costs the host what it costs there, and streams, events and waits keep a clock. What it shows
// is how long the device would wait for the host: a profile's busy share, without a GPU. Results are made up: positive and finite.
//
//   TIMEDCUDA_SCALE=x   the device's memory and arithmetic are x times as slow, 1 unless set: small pictures then take as long as large
//                       ones, and the host, which has fewer processors than one beside a GPU, is not busy with copying them
//   TIMEDCUDA_HOST=x    calls cost the host x times as much
//   TIMEDCUDA_GAPS=1    when a stream is destroyed, say where streams stood still, most first: between which pieces of work, how often, how long
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

typedef int R;
typedef unsigned long long P;
enum { OK = 0, INVALID = 1, OUT_OF_MEMORY = 2, NO_DEVICE_ORDINAL = 101, NOT_READY = 600 };

// An H200: bytes and operations a nanosecond, nanoseconds of a launch, of the gap between two kernels and of a copy's beginning.
static const double memory = 3600, tensor = 400e3, bus = 50, latency = 3000, gap = 1000, copy_start = 8000;
// What calls cost the host: a launch, cuDNN's execution of a plan, an event or a wait between streams, a copy.
static const double launch_call = 2200, plan_call = 6000, event_call = 800, copy_call = 2500, wake = 5000;

static const int fill = 0x3f; // as float 0.75, as double 0.0005

static double env(const char *name) { const char *v = getenv(name); return v ? atof(v) : 1; }
static double now() { timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
static void until(double at) {
  for (double left; (left = at - now()) > 0;) if (left > 200e3) { timespec t{0, (long)std::min(left - 150e3, 999e6)}; nanosleep(&t, 0); }
}
static void spend(double ns) { static double x = env("TIMEDCUDA_HOST"); until(now() + x * ns); } // as the calling thread would

struct Stream { double free = 0; std::string last; int number = 0; };
struct Event { double at = 0; };
static std::mutex mu;
static std::map<P, size_t> device;
static size_t used;
static const size_t total = 140ull << 30;

struct Gap { int n = 0; double ns = 0; };
static std::map<std::string, Gap> gaps;
static const bool wants_gaps = getenv("TIMEDCUDA_GAPS");
static void tell() {
  std::vector<std::pair<std::string, Gap>> list(gaps.begin(), gaps.end());
  std::sort(list.begin(), list.end(), [](auto &a, auto &b) { return a.second.ns > b.second.ns; });
  for (size_t i = 0; i < list.size() && i < 30; i++) fprintf(stderr, "timedcuda: %8.1f ms in %6d: %s\n", list[i].second.ns / 1e6, list[i].second.n, list[i].first.c_str());
  gaps.clear();
}

// put adds work of some nanoseconds to a stream.
static void put(void *stream, double ns, const std::string &what) {
  std::lock_guard<std::mutex> lock(mu);
  Stream *s = (Stream *)stream;
  double late = now() + latency - (s->free + gap);
  if (wants_gaps && late > 0 && late < 5e6) {
    Gap &g = gaps["stream " + std::to_string(s->number) + ", " + s->last + " … " + what];
    g.n++, g.ns += late;
  }
  if (wants_gaps) s->last = what;
  s->free = std::max(s->free + gap, now() + latency) + ns;
}
static double scaled(double ns) { static double x = env("TIMEDCUDA_SCALE"); return x * ns; }
static double moved(double bytes) { return std::max(scaled(bytes / memory), 1500.0); }

static thread_local double next_cost;
extern "C" {
void fake_cost(double operations, double bytes) { next_cost = std::max(scaled(operations / tensor), moved(bytes)); }
int fake_enqueue(void *stream, std::function<int()> *f) { delete f; spend(plan_call); put(stream, next_cost, "plan"); return OK; }
int fake_inside(P, size_t) { return 1; }

R cuInit(unsigned) { return OK; }
R cuDriverGetVersion(int *v) { *v = 13000; return OK; }
R cuGetErrorString(R, const char **s) { *s = "an error of the timed driver"; return OK; }
R cuDeviceGetCount(int *n) { *n = 1; return OK; }
R cuDeviceGet(int *d, int i) { *d = i; return i ? NO_DEVICE_ORDINAL : OK; }
R cuDeviceGetName(char *b, int n, int) { snprintf(b, n, "timed GPU"); return OK; }
R cuDeviceTotalMem_v2(size_t *b, int) { *b = total; return OK; }
R cuDeviceGetAttribute(int *v, int a, int) { *v = a == 75 ? 9 : a == 76 ? 0 : a == 16 ? 132 : a == 10 ? 32 : a == 1 ? 1024 : a == 97 ? 232448 : 0; return OK; }
R cuDevicePrimaryCtxRetain(void **c, int) { static char primary; *c = &primary; return OK; }
R cuDevicePrimaryCtxRelease_v2(int) { return OK; }
R cuCtxSetCurrent(void *) { return OK; }
R cuCtxGetCurrent(void **c) { return cuDevicePrimaryCtxRetain(c, 0); }

static std::map<void *, Stream *> &streams() { static std::map<void *, Stream *> s; return s; }
R cuCtxSynchronize(void) {
  double last = 0;
  { std::lock_guard<std::mutex> lock(mu); for (auto &s : streams()) last = std::max(last, s.second->free); }
  until(last);
  spend(wake);
  return OK;
}
R cuStreamCreate(void **s, unsigned) { std::lock_guard<std::mutex> lock(mu); auto x = new Stream; streams()[x] = x; x->number = streams().size(); *s = x; return OK; }
R cuStreamCreateWithPriority(void **s, unsigned f, int) { return cuStreamCreate(s, f); }
R cuStreamDestroy_v2(void *s) { std::lock_guard<std::mutex> lock(mu); streams().erase(s); delete (Stream *)s; tell(); return OK; }
R cuStreamSynchronize(void *s) { double at; { std::lock_guard<std::mutex> lock(mu); at = ((Stream *)s)->free; } until(at); spend(wake); return OK; }
R cuStreamQuery(void *s) { std::lock_guard<std::mutex> lock(mu); return ((Stream *)s)->free <= now() ? OK : NOT_READY; }
R cuStreamWaitEvent(void *s, void *e, unsigned) { spend(event_call); std::lock_guard<std::mutex> lock(mu); auto x = (Stream *)s; x->free = std::max(x->free, ((Event *)e)->at); return OK; }
R cuEventCreate(void **e, unsigned) { *e = new Event; return OK; }
R cuEventDestroy_v2(void *e) { delete (Event *)e; return OK; }
R cuEventRecord(void *e, void *s) { spend(event_call); std::lock_guard<std::mutex> lock(mu); ((Event *)e)->at = std::max(((Stream *)s)->free, now()); return OK; }
R cuEventSynchronize(void *e) { double at; { std::lock_guard<std::mutex> lock(mu); at = ((Event *)e)->at; } until(at); spend(wake); return OK; }
R cuEventQuery(void *e) { std::lock_guard<std::mutex> lock(mu); return ((Event *)e)->at <= now() ? OK : NOT_READY; }
R cuEventElapsedTime(float *ms, void *a, void *b) {
  std::lock_guard<std::mutex> lock(mu);
  if (((Event *)b)->at > now()) return NOT_READY;
  *ms = (((Event *)b)->at - ((Event *)a)->at) / 1e6;
  return OK;
}

R cuMemAlloc_v2(P *p, size_t n) {
  std::lock_guard<std::mutex> lock(mu);
  if (!n || used + n > total) return n ? OUT_OF_MEMORY : INVALID;
  void *m = mmap(0, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (m == MAP_FAILED) return OUT_OF_MEMORY;
  device[*p = (P)m] = n;
  used += n;
  return OK;
}
R cuMemFree_v2(P p) { cuCtxSynchronize(); std::lock_guard<std::mutex> lock(mu); munmap((void *)p, device[p]); used -= device[p]; device.erase(p); return OK; }
R cuMemGetInfo_v2(size_t *f, size_t *t) { std::lock_guard<std::mutex> lock(mu); *f = total - used; *t = total; return OK; }
R cuMemHostAlloc(void **p, size_t n, unsigned) { if (!(*p = aligned_alloc(4096, (n + 4095) & ~4095ull))) return OUT_OF_MEMORY; memset(*p, fill, n); return OK; }
R cuMemFreeHost(void *p) { cuCtxSynchronize(); free(p); return OK; }

static R copy(void *s, double n, double speed) { spend(copy_call); put(s, copy_start + (n > 1 << 20 ? scaled(n / speed) : n / speed), "copy"); return OK; }
R cuMemcpyHtoD_v2(P, const void *, size_t n) { spend(copy_call + copy_start + n / bus); return OK; }
R cuMemcpyDtoH_v2(void *d, P, size_t n) { memset(d, fill, n); spend(copy_call + copy_start + n / bus); return OK; }
R cuMemcpyHtoDAsync_v2(P, const void *, size_t n, void *s) { return copy(s, n, bus); }
R cuMemcpyDtoHAsync_v2(void *, P, size_t n, void *s) { return copy(s, n, bus); }
R cuMemcpyDtoDAsync_v2(P, P, size_t n, void *s) { return copy(s, 2.0 * n, memory); }
R cuMemsetD8Async(P, unsigned char, size_t n, void *s) { spend(launch_call); put(s, moved(n), "memset"); return OK; }
R cuMemsetD32Async(P p, unsigned, size_t n, void *s) { return cuMemsetD8Async(p, 0, 4 * n, s); }

R cuModuleLoadData(void **m, const void *) { static char module; *m = &module; return OK; }
R cuModuleUnload(void *) { return OK; }
R cuModuleGetFunction(void **f, void *, const char *name) { *f = new std::string(name); return OK; }
R cuFuncSetAttribute(void *, int, int) { return OK; }

// What a kernel reads and writes, in bytes: of batch norm, pools, pictures and the bank by their sizes, of what walks over eights of
// values by their number, of the others by the threads that are launched, sixteen bytes each. Arguments are counted from 0.
struct Walk { int n, area, p; double each; }; // which arguments are samples, pixels and channels; bytes of a value
static const std::map<std::string, Walk> norms = {{"norm_sums", {2, 4, 5, 2}}, {"norm_apply", {6, 8, 9, 4.5}}, {"norm_back_sums", {6, 8, 9, 4}}, {"norm_back_apply", {8, 10, 11, 6.5}}};
static const std::map<std::string, std::pair<int, double>> walks = { // which argument is the number of eights; bytes of one
    {"sgd", {4, 8 * 22}}, {"average", {3, 8 * 14}}, {"narrow", {2, 8 * 6}}, {"widen_add", {2, 8 * 10}}, {"relu", {2, 32}}, {"relu_back", {3, 48}}, {"sum", {3, 48}}, {"add_bias", {2, 32}}};
R cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned, void *s, void **p, void **) {
  const std::string &name = *(std::string *)f;
  double bytes = 16.0 * gx * gy * gz * bx * by * bz;
  auto integer = [&](int i) { return (double)*(int *)p[i]; };
  if (auto k = norms.find(name); k != norms.end()) bytes = integer(k->second.n) * integer(k->second.area) * integer(k->second.p) * k->second.each;
  if (auto k = walks.find(name); k != walks.end()) bytes = *(long long *)p[k->second.first] * k->second.second;
  if (name == "contrast_4") bytes = 4.0 * gy * integer(7) * integer(8);
  if (name == "render") bytes = integer(8) * gy * (3 + 16);
  if (name.starts_with("max_pool")) bytes = integer(3) * integer(4) * integer(5) * integer(8) * 3;
  spend(launch_call);
  put(s, moved(bytes), name);
  return OK;
}

R cuStreamBeginCapture_v2(void *, int) { return 801; } // graphs have no clock
R cuStreamEndCapture(void *, void **) { return 801; }
R cuGraphInstantiateWithFlags(void **, void *, unsigned long long) { return 801; }
R cuGraphLaunch(void *, void *) { return 801; }
R cuGraphDestroy(void *) { return OK; }
R cuGraphExecDestroy(void *) { return OK; }
}
