//go:build (linux || darwin) && (amd64 || arm64) && !static

package jpeg

import (
	"errors"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// transform is TurboJPEG's tjtransform: no crop, no turn, all markers kept.
type transform struct {
	_ [4]int32 // region: left, top, width, height
	_ int32    // operation
	_ int32    // options
	_ uintptr  // data
	_ uintptr  // filter
}

// transcoder are the functions of TurboJPEG that change a file without decoding it.
type transcoder struct {
	open      func() uintptr
	close     func(handle uintptr) int32
	transform func(handle uintptr, buf *byte, size uint64, n int32, dst *uintptr, sizes *uint64, t *transform, flags int32) int32
	message   func(handle uintptr) string
	code      func(handle uintptr) int32
	free      func(buf uintptr)
}

var loadTranscoder = sync.OnceValues(func() (*transcoder, error) {
	var lib uintptr
	var err error
	for _, n := range names {
		if lib, err = purego.Dlopen(n, purego.RTLD_NOW|purego.RTLD_LOCAL); err == nil {
			break
		}
	}
	if err != nil {
		return nil, ErrNoTranscoder
	}
	t := &transcoder{}
	for name, f := range map[string]any{"tjInitTransform": &t.open, "tjDestroy": &t.close, "tjTransform": &t.transform, "tjGetErrorStr2": &t.message,
		"tjGetErrorCode": &t.code, "tjFree": &t.free} {
		sym, err := purego.Dlsym(lib, name)
		if err != nil {
			return nil, ErrNoTranscoder
		}
		purego.RegisterFunc(f, sym)
	}
	return t, nil
})

func transcode(data []byte) ([]byte, error) {
	t, err := loadTranscoder()
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread() // as in decode
	defer runtime.UnlockOSThread()
	handle := t.open()
	if handle == 0 {
		return nil, errors.New("libturbojpeg could not start a transcoder")
	}
	defer t.close(handle)
	var dst uintptr
	var size uint64
	if t.transform(handle, &data[0], uint64(len(data)), 1, &dst, &size, &transform{}, 0) != 0 {
		err = failure(t.code(handle), t.message(handle))
	}
	if dst != 0 {
		defer t.free(dst)
	}
	if err != nil {
		return nil, err
	}
	out := make([]byte, size)
	copy(out, unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&dst))), size))
	return out, nil
}
