// Command shim writes what gorgonia.org/cu needs to be compiled where no CUDA toolkit is: a cuda.h whose functions find
// libcuda.so.1 when they are first called, and an empty libcuda.a that satisfies the linker.
//
//	go run ./ops/cuda/shim -out build/cuda
//
// The declarations are taken from the header that the module cu carries for its own generator; of its functions and types
// only what cu calls is kept, under the names that a driver exports today (cuMemAlloc is cuMemAlloc_v2). The binary then
// needs libc alone, starts with and without a driver, and works with any driver that still exports these symbols.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
)

func main() {
	out := flag.String("out", "build/cuda", "folder for include/cuda.h and lib/libcuda.a")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "shim:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "gorgonia.org/cu").Output()
	if err != nil {
		return fmt.Errorf("go list -m gorgonia.org/cu: %w", err)
	}
	cu := strings.TrimSpace(string(dir))
	if cu == "" { // known, but not yet in the module cache
		if msg, err := exec.Command("go", "mod", "download", "gorgonia.org/cu").CombinedOutput(); err != nil {
			return fmt.Errorf("go mod download gorgonia.org/cu: %s", msg)
		}
		return run(out)
	}
	header, err := os.ReadFile(filepath.Join(cu, "cmd", "genlib", "cuda.h"))
	if err != nil {
		return err
	}
	used, err := mentioned(cu)
	if err != nil {
		return err
	}
	text, err := shim(string(header), used)
	if err != nil {
		return err
	}
	for name, content := range map[string]string{"include/cuda.h": text, "lib/libcuda.a": "!<arch>\n"} {
		path := filepath.Join(out, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if old, err := os.ReadFile(path); err == nil && string(old) == content {
			continue // keeps its date, and with it what was built from it
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

var (
	cNames    = regexp.MustCompile(`C\.([A-Za-z_]\w*)`)
	cuNames   = regexp.MustCompile(`\b(cu[A-Z]\w*|CU\w+)`)
	prototype = regexp.MustCompile(`(?s)(?:__attribute__\(\(deprecated\)\) )?CUresult\s+(cu\w+)\s*\(([^;]*?)\);`)
	lastWord  = regexp.MustCompile(`(\w+)\s*(\[\w*\])?$`)
)

// mentioned collects the C names that package cu uses.
func mentioned(dir string) (map[string]bool, error) {
	used := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(dir, "*.*"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		ext := filepath.Ext(f)
		if !slices.Contains([]string{".go", ".c", ".h"}, ext) || strings.HasSuffix(f, "_test.go") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		pattern := cNames
		if ext != ".go" {
			pattern = cuNames
		}
		for _, m := range pattern.FindAllStringSubmatch(string(text), -1) {
			used[m[1]] = true
		}
	}
	return used, nil
}

// second are the functions whose present ABI has the suffix _v2: those of before CUDA 3.2 had 32-bit sizes.
var second = strings.Fields(`cuDeviceTotalMem cuCtxCreate cuCtxDestroy cuCtxPopCurrent cuCtxPushCurrent cuMemAlloc cuMemFree
cuMemAllocHost cuMemAllocPitch cuMemGetInfo cuMemGetAddressRange cuMemHostGetDevicePointer cuMemHostRegister cuMemcpyHtoD
cuMemcpyDtoH cuMemcpyDtoD cuMemcpyDtoA cuMemcpyAtoD cuMemcpyHtoA cuMemcpyAtoH cuMemcpyAtoA cuMemcpyHtoAAsync cuMemcpyAtoHAsync
cuMemcpy2D cuMemcpy2DUnaligned cuMemcpy3D cuMemcpyHtoDAsync cuMemcpyDtoHAsync cuMemcpyDtoDAsync cuMemcpy2DAsync cuMemcpy3DAsync
cuMemsetD8 cuMemsetD16 cuMemsetD32 cuMemsetD2D8 cuMemsetD2D16 cuMemsetD2D32 cuArrayCreate cuArrayGetDescriptor cuArray3DCreate
cuArray3DGetDescriptor cuTexRefSetAddress cuTexRefGetAddress cuStreamDestroy cuEventDestroy cuLinkCreate cuLinkAddData
cuLinkAddFile cuModuleGetGlobal cuDevicePrimaryCtxRelease cuDevicePrimaryCtxReset cuDevicePrimaryCtxSetFlags`)

const head = `/* What gorgonia.org/cu declares of the CUDA driver, with functions that find libcuda.so.1 when first called.
 * Written by ops/cuda/shim; do not edit. */
#ifndef CONTRAFLOW_CUDA_H
#define CONTRAFLOW_CUDA_H
#include <stdint.h>
#include <stddef.h>
#include <stdlib.h>
#include <dlfcn.h>
#define CUDA_VERSION 11000
#define CUDAAPI
#define CUDA_CB
#define CU_TRSF_READ_AS_INTEGER 0x01
#define CU_TRSF_NORMALIZED_COORDINATES 0x02
`

const trampolines = `
/* Bodies are compiled in plain C files only: files that cgo generates define GO_CGO_GOSTRING_TYPEDEF and see prototypes.
 * Weak and hidden: copies merge, and nothing shadows the driver's own symbols. CUDA_DRIVER_LIB names another library. */
#define SHIM __attribute__((weak, visibility("hidden")))
extern SHIM void *shim_handle;
extern SHIM int shim_init_status;
extern SHIM void *shim_symbol(const char *name);
#ifdef GO_CGO_GOSTRING_TYPEDEF
#define SHIM_FN(api, sym, params, args) extern SHIM CUresult shim_##api params;
extern SHIM CUresult shim_cuInit(unsigned int flags);
#else
SHIM void *shim_handle = 0;
SHIM int shim_init_status = -1;
SHIM void *shim_symbol(const char *name) {
	void *h = __atomic_load_n(&shim_handle, __ATOMIC_ACQUIRE);
	if (!h) {
		const char *p = getenv("CUDA_DRIVER_LIB");
		h = dlopen(p ? p : "libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
		if (!h) return 0;
		__atomic_store_n(&shim_handle, h, __ATOMIC_RELEASE);
	}
	return dlsym(h, name);
}
/* 100, no device, without a driver; 500, not found, when the driver lacks the symbol */
#define SHIM_FN(api, sym, params, args) \
	SHIM CUresult shim_##api params { \
		static CUresult (*shim_call) params; \
		if (!shim_call && !(*(void **)&shim_call = shim_symbol(sym))) return shim_handle ? (CUresult)500 : (CUresult)100; \
		return shim_call args; \
	}
/* Package cu calls cuInit when it is loaded and ends the process when that fails: it is told all is well, the truth is kept. */
SHIM CUresult shim_cuInit(unsigned int flags) {
	CUresult (*f)(unsigned int);
	*(void **)&f = shim_symbol("cuInit");
	shim_init_status = f ? (int)f(flags) : 100;
	return CUDA_SUCCESS;
}
#endif
#define cuInit shim_cuInit

`

// shim is the header for the used names.
func shim(header string, used map[string]bool) (string, error) {
	from, to := strings.Index(header, "typedef uint32_t cuuint32_t"), strings.Index(header, "CUresult cuGetErrorString")
	if from < 0 || to < from {
		return "", errors.New("the header of gorgonia.org/cu is not the one of v0.9.6")
	}
	params := map[string]string{}
	for _, m := range prototype.FindAllStringSubmatch(header, -1) {
		params[m[1]] = strings.Join(strings.Fields(m[2]), " ")
	}
	var names []string
	for n := range used {
		if _, ok := params[n]; ok && n != "cuInit" {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	var b strings.Builder
	b.WriteString(head)
	b.WriteString(header[from:to])
	b.WriteString(trampolines)
	for _, n := range names {
		symbol := n
		if slices.Contains(second, n) {
			symbol += "_v2"
		}
		if n == "cuTexRefSetAddress2D" {
			symbol += "_v3"
		}
		p := params[n]
		if p == "" {
			p = "void"
		}
		fmt.Fprintf(&b, "SHIM_FN(%s, %q, (%s), (%s))\n#define %s shim_%s\n", n, symbol, p, arguments(params[n]), n, n)
	}
	b.WriteString("#endif\n")
	return b.String(), nil
}

// arguments are the names in a parameter list.
func arguments(params string) string {
	if p := strings.TrimSpace(params); p == "" || p == "void" {
		return ""
	}
	var out []string
	for _, p := range strings.Split(params, ",") {
		out = append(out, lastWord.FindStringSubmatch(strings.TrimSpace(p))[1])
	}
	return strings.Join(out, ", ")
}
