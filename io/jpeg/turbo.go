//go:build (linux || darwin) && (amd64 || arm64) && !static

package jpeg

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/ebitengine/purego"

	"github.com/contraflow/contraflow/ops/pixel"
)

// turbo is the TurboJPEG library.
type turbo struct {
	open       func() uintptr
	close      func(handle uintptr) int32
	header     func(handle uintptr, buf *byte, size uint64, w, h, sampling, space *int32) int32
	decompress func(handle uintptr, buf *byte, size uint64, dst *byte, w, pitch, h, format, flags int32) int32
	message    func(handle uintptr) string
	code       func(handle uintptr) int32
}

var names = []string{"libturbojpeg.so.0", "libturbojpeg.so", "libturbojpeg.0.dylib", "libturbojpeg.dylib"}

var loadTurbo = sync.OnceValues(func() (*turbo, error) {
	var lib uintptr
	var err error
	for _, n := range names {
		if lib, err = purego.Dlopen(n, purego.RTLD_NOW|purego.RTLD_LOCAL); err == nil {
			break
		}
	}
	if err != nil {
		return nil, errors.New("libturbojpeg was not found")
	}
	t := &turbo{}
	for name, f := range map[string]any{"tjInitDecompress": &t.open, "tjDestroy": &t.close, "tjDecompressHeader3": &t.header, "tjDecompress2": &t.decompress,
		"tjGetErrorStr2": &t.message, "tjGetErrorCode": &t.code} {
		sym, err := purego.Dlsym(lib, name)
		if err != nil {
			return nil, errors.New("libturbojpeg lacks " + name)
		}
		purego.RegisterFunc(f, sym)
	}
	return t, nil
})

const limitScans = 1 << 15 // TJFLAG_LIMITSCANS: more than 500 are an error

// decode fills dst with the RGB pixels of a picture. What the library only warns of, bytes too many and the like, is accepted, as
// it is by Pillow. Every file gets a handle of its own, which costs two microseconds: a used one fails for good after an error
// and lends its tables to files that lack theirs.
func (t *turbo) decode(dst *pixel.Picture, data []byte) error {
	runtime.LockOSThread() // which is where the library keeps its last message
	defer runtime.UnlockOSThread()
	handle := t.open()
	if handle == 0 {
		return errors.New("libturbojpeg could not start a decoder")
	}
	defer t.close(handle)
	failed := func() error { return failure(t.code(handle), t.message(handle)) }
	var w, h, sampling, space int32
	if t.header(handle, &data[0], uint64(len(data)), &w, &h, &sampling, &space) != 0 && (w < 1 || h < 1) {
		// With the size known it failed to name a sampling that it decodes all the same, such as 3×1, or to decode, which it will say again.
		if err := failed(); err != nil {
			return err
		}
	}
	if err := checkSize(int(w), int(h), len(data)); err != nil {
		return err
	}
	dst.Reset(int(w), int(h))
	if t.decompress(handle, &data[0], uint64(len(data)), &dst.Pix[0], w, 0, h, 0, limitScans) != 0 {
		return failed()
	}
	return nil
}

// warnings are how all the warnings of libjpeg begin.
var warnings = []string{"Corrupt JPEG data", "Premature end of JPEG file", "Unknown Adobe color transform", "Inconsistent progression sequence",
	"Invalid SOS parameters", "Warning"}

// failure is the error of a call that did not succeed, nil for a warning. The code alone does not tell: it is TJERR_WARNING, 0, also
// when an error came after a warning, and then nothing was written. The message is the last one's.
func failure(code int32, message string) error {
	if code == 0 && slices.ContainsFunc(warnings, func(w string) bool { return strings.HasPrefix(message, w) }) {
		return nil
	}
	return errors.New("broken jpeg: " + message)
}
