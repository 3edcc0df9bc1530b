//go:build cuda

package nvrtc

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Lib is libnvrtc.
type Lib struct {
	create  func(p *uintptr, src, name string, n int32, headers, names unsafe.Pointer) int32
	compile func(p uintptr, n int32, options unsafe.Pointer) int32
	size    func(p uintptr, n *uint64) int32
	image   func(p uintptr, b *byte) int32
	logSize func(p uintptr, n *uint64) int32
	log     func(p uintptr, b *byte) int32
	destroy func(p *uintptr) int32
	version string
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
	var version func(major, minor *int32) int32
	for name, f := range map[string]any{
		"nvrtcCreateProgram": &l.create, "nvrtcCompileProgram": &l.compile, "nvrtcGetCUBINSize": &l.size, "nvrtcGetCUBIN": &l.image,
		"nvrtcGetProgramLogSize": &l.logSize, "nvrtcGetProgramLog": &l.log, "nvrtcDestroyProgram": &l.destroy, "nvrtcVersion": &version,
	} {
		purego.RegisterLibFunc(f, lib, name)
	}
	var major, minor int32
	version(&major, &minor)
	l.version = fmt.Sprintf("%d.%d", major, minor)
	return l, nil
}

// Version is "13.0".
func (l *Lib) Version() string { return l.version }

// Compile compiles the file called main among files, whose includes are the others, and returns the cubin.
func (l *Lib) Compile(main string, files map[string]string, options []string) ([]byte, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	c := func(s string) *byte {
		b := append([]byte(s), 0)
		pin.Pin(&b[0])
		return &b[0]
	}
	var headers, names, opts []*byte
	for name, text := range files {
		if name != main {
			headers, names = append(headers, c(text)), append(names, c(name))
		}
	}
	for _, o := range options {
		opts = append(opts, c(o))
	}
	var p uintptr
	if rc := l.create(&p, files[main], main, int32(len(headers)), first(headers), first(names)); rc != 0 {
		return nil, fmt.Errorf("nvrtc %s: create a program: status %d", l.version, rc)
	}
	defer l.destroy(&p)
	rc := l.compile(p, int32(len(opts)), first(opts))
	runtime.KeepAlive(opts)
	if rc != 0 {
		var n uint64
		l.logSize(p, &n)
		text := make([]byte, n+1)
		l.log(p, &text[0])
		return nil, fmt.Errorf("nvrtc %s: compile %s: status %d: %s", l.version, main, rc, strings.TrimRight(string(text), "\x00\n"))
	}
	var n uint64
	if rc := l.size(p, &n); rc != 0 || n == 0 {
		return nil, fmt.Errorf("nvrtc %s: %s gives no machine code (status %d)", l.version, main, rc)
	}
	image := make([]byte, n)
	if rc := l.image(p, &image[0]); rc != 0 {
		return nil, fmt.Errorf("nvrtc %s: machine code of %s: status %d", l.version, main, rc)
	}
	return image, nil
}

func first(s []*byte) unsafe.Pointer {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Pointer(&s[0])
}
