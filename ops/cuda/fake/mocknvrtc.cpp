// mocknvrtc.cpp is a libnvrtc.so that compiles kernels for the processor, with g++ and cpu_shim.h (in FAKECUDA_SHIM). What it
// returns as a cubin is a shared library, which the fake driver loads.
#include <stdlib.h>
#include <string.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>

struct Program { std::string name, image, log; std::map<std::string, std::string> files; };
static std::string read(const std::string &path) { std::ifstream f(path, std::ios::binary); std::stringstream s; s << f.rdbuf(); return s.str(); }

extern "C" {
int nvrtcVersion(int *major, int *minor) { *major = 13; *minor = 0; return 0; }
const char *nvrtcGetErrorString(int) { return "mock error"; }
int nvrtcCreateProgram(Program **p, const char *src, const char *name, int n, const char **headers, const char **names) {
  *p = new Program{name, "", "", {}};
  (*p)->files[name] = src;
  for (int i = 0; i < n; i++) (*p)->files[names[i]] = headers[i];
  return 0;
}
int nvrtcCompileProgram(Program *p, int n, const char **options) {
  char dir[] = "/tmp/mocknvrtcXXXXXX";
  if (!mkdtemp(dir)) return 1;
  std::string d = dir, flags;
  bool arch = false;
  for (int i = 0; i < n; i++) {
    if (!strncmp(options[i], "-D", 2)) flags += std::string(" ") + options[i];
    else if (!strncmp(options[i], "--gpu-architecture=sm_", 22)) arch = true;
    else if (strcmp(options[i], "--std=c++17")) { p->log = std::string("unknown option ") + options[i]; return 5; }
  }
  if (!arch) { p->log = "no architecture"; return 5; }
  for (auto &f : p->files) std::ofstream(d + "/" + f.first) << f.second;
  std::string cmd = "g++ -std=c++17 -O2 -mavx2 -w -shared -fPIC -fno-strict-aliasing -ffp-contract=off -fsanitize=alignment -DCPU_SHIM -I" + std::string(getenv("FAKECUDA_SHIM")) + flags +
                    " -x c++ " + d + "/" + p->name + " -o " + d + "/out.so 2>" + d + "/log";
  int rc = system(cmd.c_str());
  p->log = read(d + "/log");
  p->image = read(d + "/out.so");
  system(("rm -r " + d).c_str());
  return rc ? 6 : 0;
}
int nvrtcGetCUBINSize(Program *p, size_t *n) { *n = p->image.size(); return 0; }
int nvrtcGetCUBIN(Program *p, char *b) { memcpy(b, p->image.data(), p->image.size()); return 0; }
int nvrtcGetProgramLogSize(Program *p, size_t *n) { *n = p->log.size() + 1; return 0; }
int nvrtcGetProgramLog(Program *p, char *b) { memcpy(b, p->log.c_str(), p->log.size() + 1); return 0; }
int nvrtcDestroyProgram(Program **p) { delete *p; *p = 0; return 0; }
}
