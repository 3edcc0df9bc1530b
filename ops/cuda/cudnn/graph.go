//go:build cuda

package cudnn

import (
	"runtime"
	"unsafe"
)

// Values of cudnn_graph.h, the same in every version 9.
const (
	kindConvolution, kindEngine, kindConfig, kindHeuristics, kindPlan = 1, 2, 3, 4, 5
	kindForward, kindBackWeight, kindBackData                         = 10, 11, 12
	kindGraph, kindPack, kindTensor                                   = 15, 16, 17

	typeHandle, typeDataType, typeInt64, typeFloat, typePointer    = 0, 1, 3, 4, 6
	typeConvMode, typeHeurMode, typeNumericalNote, typeDescriptor  = 7, 8, 11, 15
	convCompute, convMode, convDilation, convStride                = 100, 101, 102, 103
	convPadAfter, convPadBefore, convDims                          = 104, 105, 106
	heurMode, heurGraph, heurResults                               = 200, 201, 202
	configEngine                                                   = 300
	planHandle, planConfig, planWorkspace                          = 400, 401, 402
	opForward, opBackData, opBackWeight                            = 700, 706, 712 // alpha; beta and convolution follow
	graphHandle, graphOps                                          = 800, 801
	tensorAlign, tensorType, tensorDims, tensorStrides, tensorID   = 900, 901, 902, 903, 906
	packIDs, packPointers, packWorkspace                           = 1000, 1001, 1003
	engineNotes                                                    = 1303
	noteTensorCore, noteDownConvert, noteReduced, noteNondetermin  = 0, 1, 2, 4
	dataFloat, dataBFloat16, crossCorrelation, modeA, modeFallback = 0, 9, 1, 3, 2
)

// builder makes descriptors and keeps the first error. free gives all of them back.
type builder struct {
	l   *Lib
	all []uintptr
	err error
}

func (b *builder) make(kind int32) (d uintptr) {
	if b.err == nil {
		if b.err = b.l.check("create a descriptor", b.l.newDescriptor(kind, &d)); b.err == nil {
			b.all = append(b.all, d)
		}
	}
	return d
}

func (b *builder) finish(what string, d uintptr) {
	if b.err == nil {
		b.err = b.l.check(what, b.l.finalize(d))
	}
}

func (b *builder) free() {
	for i := len(b.all) - 1; i >= 0; i-- {
		b.l.destroy(b.all[i])
	}
	b.all = nil
}

func set[T any](b *builder, d uintptr, name, kind int32, v ...T) {
	if b.err == nil {
		b.err = b.l.check("set an attribute", b.l.setAttribute(d, name, kind, int64(len(v)), unsafe.Pointer(&v[0])))
		runtime.KeepAlive(v)
	}
}

// tensor describes a packed NHWC tensor, its sizes in the order N, C, H, W.
func (b *builder) tensor(id int64, kind int32, n, c, h, w int64) uintptr {
	d := b.make(kindTensor)
	set(b, d, tensorType, typeDataType, kind)
	set(b, d, tensorDims, typeInt64, n, c, h, w)
	set(b, d, tensorStrides, typeInt64, h*w*c, 1, w*c, c)
	set(b, d, tensorID, typeInt64, id)
	set(b, d, tensorAlign, typeInt64, int64(16))
	b.finish("tensor", d)
	return d
}
