//go:build cuda

package cudnn

import (
	"bytes"
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Lib is libcudnn with a handle. It belongs to one thread.
type Lib struct {
	setStream     func(handle, stream uintptr) int32
	newDescriptor func(kind int32, d *uintptr) int32
	destroy       func(d uintptr) int32
	finalize      func(d uintptr) int32
	setAttribute  func(d uintptr, name, kind int32, n int64, p unsafe.Pointer) int32
	getAttribute  func(d uintptr, name, kind int32, want int64, got *int64, p unsafe.Pointer) int32
	lastError     func(b *byte, n uint64)
	close         func(handle uintptr) int32
	execute       uintptr
	version       uint64
	handle        uintptr
}

// Open loads the library at path.
func Open(path string) (l *Lib, err error) {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	defer func() { // purego panics when a symbol is missing
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: %v: want cuDNN 9", path, r)
		}
	}()
	l = &Lib{}
	var create func(h *uintptr) int32
	var version func() uint64
	for name, f := range map[string]any{
		"cudnnCreate": &create, "cudnnDestroy": &l.close, "cudnnSetStream": &l.setStream, "cudnnGetVersion": &version,
		"cudnnBackendCreateDescriptor": &l.newDescriptor, "cudnnBackendDestroyDescriptor": &l.destroy, "cudnnBackendFinalize": &l.finalize,
		"cudnnBackendSetAttribute": &l.setAttribute, "cudnnBackendGetAttribute": &l.getAttribute, "cudnnGetLastErrorString": &l.lastError,
	} {
		purego.RegisterLibFunc(f, lib, name)
	}
	if l.execute, err = purego.Dlsym(lib, "cudnnBackendExecute"); err != nil {
		return nil, err
	}
	l.version = version()
	return l, l.check("create a handle", create(&l.handle))
}

// Version is 90100 for 9.1.0.
func (l *Lib) Version() int { return int(l.version) }

// SetStream makes plans run on a stream.
func (l *Lib) SetStream(stream uintptr) error {
	return l.check("set the stream", l.setStream(l.handle, stream))
}

// Close ends the handle.
func (l *Lib) Close() { l.close(l.handle) }

func (l *Lib) check(what string, status int32) error {
	if status == 0 {
		return nil
	}
	b := make([]byte, 512)
	l.lastError(&b[0], uint64(len(b)))
	text, _, _ := bytes.Cut(b, []byte{0})
	return fmt.Errorf("cuDNN: %s: status %d: %s", what, status, text)
}
