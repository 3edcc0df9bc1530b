//go:build cuda

package cuda

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda/cublaslt"
	"github.com/contraflow/contraflow/ops/cuda/cudnn"
	"github.com/contraflow/contraflow/ops/cuda/driver"
)

// Built reports whether the program was built with the tag cuda.
const Built = true

// Device is one GPU.
type Device struct {
	o     Options
	name  string // "NVIDIA H200"
	arch  string // "sm_90"
	cache string
	calls chan *call

	// What follows belongs to the owner goroutine.
	ctx      cu.CUContext
	compute  cu.Stream
	copies   cu.Stream
	kernels  kernels
	dnn      *cudnn.Lib
	blas     *cublaslt.Lib
	plans    planCache
	chunk    buffer // what is left of the memory that small buffers are cut from
	scratch  buffer // partial sums
	space    buffer // workspace of cuDNN and cuBLASLt
	apart    buffer // a gradient that no engine adds
	planes   buffer // slots of a mixture, while they are rendered
	held     map[cu.DevicePtr]int64
	bytes    int64
	products map[cublaslt.Product]*cublaslt.Plan
	convs    map[cudnn.Conv]*cudnn.Plan // nil: no engine adds
	failed   error                      // of calls that could not return it
	spans    atomic.Pointer[recorder]
	moves    uint64 // of buffers that recordings may hold the address of
	replays  int
	told     func(Span) // of the goroutine that uses the device
	estates  map[*estate]bool
	wills    wills
	waiting  waiting

	renderings map[*ops.Rendering]cu.DevicePtr
}

var _ ops.Device = (*Device)(nil)

// Available is the reason why no device can be opened, or nil.
func Available() error {
	if err := driver.Init(); errors.Is(err, driver.NoDevice) {
		return ErrNoDevice
	} else if err != nil {
		return fmt.Errorf("the NVIDIA driver does not start: %w: reboot after an update, or use --device cpu", err)
	}
	if n, err := cu.NumDevices(); err != nil || n == 0 {
		return ErrNoDevice
	}
	return nil
}

// Open opens a GPU, compiles the kernels unless they are cached, and finds cuDNN and cuBLASLt. A missing library is an
// error that says where it was looked for.
func Open(o Options) (ops.Device, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	if n, _ := cu.NumDevices(); o.Ordinal < 0 || o.Ordinal >= n {
		return nil, fmt.Errorf("there is no device cuda:%d: this machine has %d, counted from 0", o.Ordinal, n)
	}
	d := &Device{o: o, calls: make(chan *call, 8), held: map[cu.DevicePtr]int64{}, products: map[cublaslt.Product]*cublaslt.Plan{},
		convs: map[cudnn.Conv]*cudnn.Plan{}, renderings: map[*ops.Rendering]cu.DevicePtr{}, estates: map[*estate]bool{}}
	started := make(chan error)
	go d.own(started)
	if err := <-started; err != nil {
		close(d.calls)
		return nil, err
	}
	return d, nil
}

func (d *Device) start() error {
	dev, err := cu.GetDevice(d.o.Ordinal)
	if err != nil {
		return err
	}
	if d.name, err = dev.Name(); err != nil {
		return err
	}
	major, err := dev.Attribute(cu.ComputeCapabilityMajor)
	if err != nil {
		return err
	}
	minor, err := dev.Attribute(cu.ComputeCapabilityMinor)
	if err != nil {
		return err
	}
	d.arch = fmt.Sprintf("sm_%d%d", major, minor)
	if major < 8 {
		return fmt.Errorf("cuda:%d (%s) has compute capability %d.%d: want 8.0 or newer", d.o.Ordinal, d.name, major, minor)
	}
	if d.ctx, err = dev.RetainPrimaryCtx(); err != nil {
		return err
	}
	if err = cu.SetCurrentContext(d.ctx); err != nil {
		return err
	}
	if d.compute, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return err
	}
	if d.copies, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return err
	}
	if d.cache, err = cacheFolder(d.o.Cache); err != nil {
		return err
	}
	if err = d.loadKernels(); err != nil {
		return err
	}
	return d.openLibraries()
}

// Name is "cuda:0 (NVIDIA H200, bfloat16)".
func (d *Device) Name() string {
	kind := "float32"
	switch {
	case d.o.BF16:
		kind = "bfloat16"
	case d.o.TF32:
		kind = "tf32"
	}
	return fmt.Sprintf("cuda:%d (%s, %s)", d.o.Ordinal, d.name, kind)
}

// Fault is an error of the driver that ends the use of the device in this process. The call that tells of it is not always the one at
// fault: work runs later.
type Fault struct {
	Device string
	Err    error
}

func (f *Fault) Error() string {
	return fmt.Sprintf("%s: %v: run with CUDA_LAUNCH_BLOCKING=1 to see the call at fault, and look into dmesg for Xid", f.Device, f.Err)
}

// Unwrap gives the driver's error.
func (f *Fault) Unwrap() error { return f.Err }

// faults are those of work that ran, as cu tells them.
var faults = []error{cu.LaunchFailed, cu.LaunchTimeout, cu.IllegalAddress, cu.IllegalInstruction, cu.MisalignedAddress, cu.InvalidAddressSpace,
	cu.InvalidPc, cu.HardwareStackError, cu.EccUncorrectable, cu.NvlinkUncorrectable, cu.Unknown}

// explain makes an error of the driver a Fault, once.
func (d *Device) explain(err error) error {
	var fault *Fault
	if err == nil || errors.As(err, &fault) {
		return err
	}
	var status driver.Error
	if (errors.As(err, &status) && status != driver.OutOfMemory) || slices.ContainsFunc(faults, func(f error) bool { return errors.Is(err, f) }) {
		return &Fault{fmt.Sprintf("cuda:%d (%s)", d.o.Ordinal, d.name), err}
	}
	return err
}

// Close frees everything and ends the owner goroutine. It tells of a failure that nobody was told of.
func (d *Device) Close() error {
	d.OnSpan(nil)
	err := d.call(func() error {
		err := cmp.Or(d.failed, d.explain(cu.Synchronize()))
		for _, p := range d.convs {
			if p != nil {
				p.Close()
			}
		}
		for _, p := range d.products {
			p.Close()
		}
		d.dnn.Close()
		d.blas.Close()
		if fault := (*Fault)(nil); errors.As(err, &fault) { // every call would fail of it
			return err
		}
		for e := range d.estates {
			err = errors.Join(err, e.release())
		}
		for _, s := range d.waiting.all {
			err = errors.Join(err, d.freeSlot(s))
		}
		for p := range d.held {
			err = errors.Join(err, cu.MemFree(p))
		}
		return errors.Join(err, d.compute.Destroy(), d.copies.Destroy())
	})
	close(d.calls)
	return err
}

// Memory is what this program holds and what is free on the device, in bytes.
func (d *Device) Memory() (held, free, total int64) {
	d.later(func() (err error) {
		if err = d.inherit(); err != nil {
			return err
		}
		free, total, err = cu.MemInfo()
		held = d.bytes
		return err
	})
	return held, free, total
}
