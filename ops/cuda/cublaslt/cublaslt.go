//go:build cuda

package cublaslt

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Lib is libcublasLt with a handle.
type Lib struct {
	handle       uintptr
	descCreate   func(d *uintptr, compute, scale int32) int32
	descSet      func(d uintptr, attribute int32, p unsafe.Pointer, n uint64) int32
	descDestroy  func(d uintptr) int32
	layoutCreate func(l *uintptr, kind int32, rows, cols uint64, ld int64) int32
	layoutFree   func(l uintptr) int32
	prefCreate   func(p *uintptr) int32
	prefSet      func(p uintptr, attribute int32, v unsafe.Pointer, n uint64) int32
	prefDestroy  func(p uintptr) int32
	heuristic    func(h, desc, a, b, c, d, pref uintptr, want int32, results unsafe.Pointer, got *int32) int32
	matmul       uintptr
	destroy      func(h uintptr) int32
}

// Open loads the library at path.
func Open(path string) (l *Lib, err error) {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: %v", path, r)
		}
	}()
	l = &Lib{}
	var create func(h *uintptr) int32
	for name, f := range map[string]any{
		"cublasLtCreate": &create, "cublasLtDestroy": &l.destroy, "cublasLtMatmulDescCreate": &l.descCreate, "cublasLtMatmulDescSetAttribute": &l.descSet,
		"cublasLtMatmulDescDestroy": &l.descDestroy, "cublasLtMatrixLayoutCreate": &l.layoutCreate, "cublasLtMatrixLayoutDestroy": &l.layoutFree,
		"cublasLtMatmulPreferenceCreate": &l.prefCreate, "cublasLtMatmulPreferenceSetAttribute": &l.prefSet,
		"cublasLtMatmulPreferenceDestroy": &l.prefDestroy, "cublasLtMatmulAlgoGetHeuristic": &l.heuristic,
	} {
		purego.RegisterLibFunc(f, lib, name)
	}
	if l.matmul, err = purego.Dlsym(lib, "cublasLtMatmul"); err != nil {
		return nil, err
	}
	return l, check("create a handle", create(&l.handle))
}

// Close ends the handle.
func (l *Lib) Close() { l.destroy(l.handle) }

func check(what string, status int32) error {
	if status == 0 {
		return nil
	}
	return fmt.Errorf("cuBLASLt: %s: status %d", what, status)
}

const (
	float, bfloat16                      = 0, 14
	compute32F, compute32FTF32           = 68, 77
	attrTransA, attrTransB, attrEpilogue = 3, 4, 7
	attrBias, attrBiasType, epilogueBias = 8, 26, 4
	prefWorkspace                        = 1
	resultWords, resultWorkspace         = 12, 8 // of the 96-byte result of the heuristic, in words of eight bytes
)

// Product is D [M,N] = op(A)·op(B) (+ D), all row major with rows of lda, ldb and ldd values; op(A) is [M,K], op(B) [K,N].
type Product struct {
	M, N, K       int
	LDA, LDB, LDD int
	TransA        bool // A is stored [K,M]
	TransB        bool // B is stored [N,K]
	BF16          bool
	TF32          bool
	Bias          bool // adds a vector of N floats to every row
	Add           bool // adds to D
	Workspace     uint64
}

// Plan is a product with the library's choice of algorithm.
type Plan struct {
	l         *Lib
	desc      uintptr
	a, b, d   uintptr
	result    [resultWords]uint64
	alpha     float32
	beta      float32
	biased    bool
	lastBias  uintptr
	Workspace uint64
}

// Plan asks the library for its first choice.
func (l *Lib) Plan(p Product) (*Plan, error) {
	kind, compute := int32(float), int32(compute32F)
	if p.BF16 {
		kind = bfloat16
	} else if p.TF32 {
		compute = compute32FTF32
	}
	x := &Plan{l: l, alpha: 1, biased: p.Bias}
	if p.Add {
		x.beta = 1
	}
	var err error
	do := func(what string, status int32) {
		if err == nil {
			err = check(what, status)
		}
	}
	set := func(attribute int32, v int32) {
		do("set an attribute", l.descSet(x.desc, attribute, unsafe.Pointer(&v), 4))
	}
	flag := func(b bool) int32 {
		if b {
			return 1
		}
		return 0
	}
	do("create a product", l.descCreate(&x.desc, compute, float))
	// Row major D = A·B is column major Dᵀ = Bᵀ·Aᵀ: the library's first operand is our B.
	set(attrTransA, flag(p.TransB))
	set(attrTransB, flag(p.TransA))
	if p.Bias {
		set(attrEpilogue, epilogueBias)
		set(attrBiasType, kind)
		nowhere := uintptr(16) // replaced before every run
		do("set the bias", l.descSet(x.desc, attrBias, unsafe.Pointer(&nowhere), 8))
	}
	layout := func(at *uintptr, rows, cols, ld int) { // of a row-major matrix
		do("describe a matrix", l.layoutCreate(at, kind, uint64(cols), uint64(rows), int64(ld)))
	}
	rowsA, colsA, rowsB, colsB := p.M, p.K, p.K, p.N
	if p.TransA {
		rowsA, colsA = colsA, rowsA
	}
	if p.TransB {
		rowsB, colsB = colsB, rowsB
	}
	layout(&x.a, rowsA, colsA, p.LDA)
	layout(&x.b, rowsB, colsB, p.LDB)
	layout(&x.d, p.M, p.N, p.LDD)
	var pref uintptr
	do("create a preference", l.prefCreate(&pref))
	do("limit the workspace", l.prefSet(pref, prefWorkspace, unsafe.Pointer(&p.Workspace), 8))
	var got int32
	do("choose an algorithm", l.heuristic(l.handle, x.desc, x.b, x.a, x.d, x.d, pref, 1, unsafe.Pointer(&x.result[0]), &got))
	l.prefDestroy(pref)
	if err == nil && got < 1 {
		err = fmt.Errorf("cuBLASLt: no algorithm for a product of %d×%d×%d", p.M, p.N, p.K)
	}
	x.Workspace = x.result[resultWorkspace]
	return x, err
}

// Run multiplies on a stream.
func (x *Plan) Run(a, b, d, bias, workspace uintptr, stream uintptr) error {
	l := x.l
	if x.biased && bias != x.lastBias {
		if err := check("set the bias", l.descSet(x.desc, attrBias, unsafe.Pointer(&bias), 8)); err != nil {
			return err
		}
		x.lastBias = bias
	}
	status, _, _ := purego.SyscallN(l.matmul, l.handle, x.desc, uintptr(unsafe.Pointer(&x.alpha)), b, x.b, a, x.a,
		uintptr(unsafe.Pointer(&x.beta)), d, x.d, d, x.d, uintptr(unsafe.Pointer(&x.result[0])), workspace, uintptr(x.Workspace), stream)
	runtime.KeepAlive(x)
	return check("multiply", int32(status))
}

// Close frees the plan.
func (x *Plan) Close() {
	x.l.descDestroy(x.desc)
	for _, m := range []uintptr{x.a, x.b, x.d} {
		x.l.layoutFree(m)
	}
}
