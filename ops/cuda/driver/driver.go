//go:build cuda

package driver

/*
#include <cuda.h>

#define GET(name) if (!f && !(*(void **)&f = shim_symbol(name))) return shim_handle ? (CUresult)500 : (CUresult)100

static CUresult host_alloc(void **p, size_t n) {
	static CUresult (*f)(void **, size_t, unsigned);
	GET("cuMemHostAlloc");
	return f(p, n, 0);
}
static CUresult set_attribute(CUfunction k, int attribute, int value) {
	static CUresult (*f)(CUfunction, int, int);
	GET("cuFuncSetAttribute");
	return f(k, attribute, value);
}
static CUresult begin_capture(CUstream s, int mode) {
	static CUresult (*f)(CUstream, int);
	GET("cuStreamBeginCapture_v2");
	return f(s, mode);
}
static CUresult end_capture(CUstream s, CUgraph *g) {
	static CUresult (*f)(CUstream, CUgraph *);
	GET("cuStreamEndCapture");
	return f(s, g);
}
static CUresult instantiate(CUgraphExec *e, CUgraph g) {
	static CUresult (*f)(CUgraphExec *, CUgraph, unsigned long long);
	GET("cuGraphInstantiateWithFlags");
	return f(e, g, 0);
}
static CUresult launch_graph(CUgraphExec e, CUstream s) {
	static CUresult (*f)(CUgraphExec, CUstream);
	GET("cuGraphLaunch");
	return f(e, s);
}
static CUresult destroy_graph(CUgraph g) {
	static CUresult (*f)(CUgraph);
	GET("cuGraphDestroy");
	return f(g);
}
static CUresult destroy_exec(CUgraphExec e) {
	static CUresult (*f)(CUgraphExec);
	GET("cuGraphExecDestroy");
	return f(e);
}
static CUresult error_text(CUresult r, const char **text) {
	static CUresult (*f)(CUresult, const char **);
	GET("cuGetErrorString");
	return f(r, text);
}
// values are the arguments, packed; at[i] is where argument i begins.
static CUresult launch(CUfunction k, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
		unsigned shared, CUstream s, unsigned char *values, const unsigned short *at, int n) {
	static CUresult (*f)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void **, void **);
	void *p[32];
	GET("cuLaunchKernel");
	for (int i = 0; i < n; i++) p[i] = values + at[i];
	return f(k, gx, gy, gz, bx, by, bz, shared, s, p, 0);
}
static int init_status(void) { return shim_init_status; }
*/
// #cgo noescape launch
// #cgo nocallback launch
import "C"

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"
)

// Error is a status of the driver.
type Error int

// The statuses that callers tell apart.
const (
	OutOfMemory Error = 2
	NoDevice    Error = 100
	NotFound    Error = 500
)

func (e Error) Error() string {
	var text *C.char
	if C.error_text(C.CUresult(e), &text) == 0 && text != nil {
		return fmt.Sprintf("CUDA driver: %s (error %d)", C.GoString(text), int(e))
	}
	return fmt.Sprintf("CUDA driver: error %d", int(e))
}

func check(r C.CUresult) error {
	if r == 0 {
		return nil
	}
	return Error(r)
}

// Init is what cuInit really returned when the program started: nil, or why there is no CUDA. NoDevice also stands for a
// machine without a driver.
func Init() error { return check(C.CUresult(C.init_status())) }

func function(f cu.Function) C.CUfunction { return *(*C.CUfunction)(unsafe.Pointer(&f)) }
func stream(s cu.Stream) C.CUstream       { return *(*C.CUstream)(unsafe.Pointer(&s)) }

// StreamHandle is a stream as cuDNN and cuBLASLt take it.
func StreamHandle(s cu.Stream) uintptr { return uintptr(unsafe.Pointer(stream(s))) }

// HostAlloc is n bytes of pinned memory, which copies can read and write while the program goes on. cu.MemFreeHost frees
// it.
func HostAlloc(n int) (unsafe.Pointer, error) {
	var p unsafe.Pointer
	err := check(C.host_alloc(&p, C.size_t(n)))
	return p, err
}

// SetMaxDynamicShared lets a kernel have n bytes of shared memory at launch; above 48 KiB it must be asked for.
func SetMaxDynamicShared(f cu.Function, n int) error {
	const attribute = 8
	return check(C.set_attribute(function(f), attribute, C.int(n)))
}

// Graph is a recorded sequence of work that one call launches.
type Graph struct {
	graph C.CUgraph
	exec  C.CUgraphExec
}

// BeginCapture makes s record instead of run, until EndCapture. Other threads may go on calling the driver.
func BeginCapture(s cu.Stream) error {
	const threadLocal = 1
	return check(C.begin_capture(stream(s), threadLocal))
}

// EndCapture ends the recording and prepares it for launches.
func EndCapture(s cu.Stream) (Graph, error) {
	var g Graph
	if err := check(C.end_capture(stream(s), &g.graph)); err != nil {
		return g, err
	}
	return g, check(C.instantiate(&g.exec, g.graph))
}

// Launch puts the recorded work on s.
func (g Graph) Launch(s cu.Stream) error { return check(C.launch_graph(g.exec, stream(s))) }

// Destroy frees the recording.
func (g Graph) Destroy() {
	if g.exec != nil {
		C.destroy_exec(g.exec)
	}
	if g.graph != nil {
		C.destroy_graph(g.graph)
	}
}

// Dim is the size of a grid or block in x, y and z.
type Dim [3]int

// Launch puts a kernel on s with shared bytes of dynamic shared memory.
func Launch(f cu.Function, s cu.Stream, grid, block Dim, shared int, a *Args) error {
	return check(C.launch(function(f), C.uint(grid[0]), C.uint(grid[1]), C.uint(grid[2]), C.uint(block[0]), C.uint(block[1]), C.uint(block[2]),
		C.uint(shared), stream(s), (*C.uchar)(unsafe.Pointer(&a.bytes[0])), (*C.ushort)(unsafe.Pointer(&a.at[0])), C.int(a.n)))
}
