//go:build cuda

package cuda

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"gorgonia.org/cu"
)

// estate is what a program with its tapes, a set of parameters or a bank holds: device memory, pinned memory, events, recordings.
// When nobody can reach its owner any more, the device takes it back, at the latest before it would run out of memory.
// Nothing in an estate refers to its owner.
type estate struct {
	d          *Device
	memory     []cu.DevicePtr
	buffers    []*buffer
	pinned     []*pinned
	slots      []*slot
	events     []cu.Event
	recordings []*recording
}

// wills are estates whose owners are gone.
type wills struct {
	sync.Mutex
	list []*estate
}

// newEstate is an empty estate of owner.
func newEstate[T any](d *Device, owner *T) *estate {
	e := &estate{d: d}
	d.estates[e] = true
	runtime.AddCleanup(owner, func(e *estate) {
		e.d.wills.Lock()
		e.d.wills.list = append(e.d.wills.list, e)
		e.d.wills.Unlock()
	}, e)
	return e
}

func (e *estate) alloc(n int64, what, lower string) (cu.DevicePtr, error) {
	p, err := e.d.alloc(n, what, lower)
	if err == nil {
		e.memory = append(e.memory, p)
	}
	return p, err
}

// buffer is one that grows.
func (e *estate) buffer() *buffer {
	b := &buffer{}
	e.buffers = append(e.buffers, b)
	return b
}

func (e *estate) pin(n int) (*pinned, error) {
	p, err := e.d.pin(n)
	if err == nil {
		e.pinned = append(e.pinned, &p)
	}
	return &p, err
}

func (e *estate) slot(n int, what string) (*slot, error) {
	s, err := e.d.newSlot(n, what)
	if err == nil {
		e.slots = append(e.slots, &s)
	}
	return &s, err
}

func (e *estate) event() (cu.Event, error) {
	v, err := cu.MakeEvent(cu.DisableTiming)
	if err == nil {
		e.events = append(e.events, v)
	}
	return v, err
}

func (e *estate) recording() *recording {
	r := &recording{}
	e.recordings = append(e.recordings, r)
	return r
}

// release gives all of it back. The device must not be using it.
func (e *estate) release() error {
	d := e.d
	delete(d.estates, e)
	var errs []error
	for _, r := range e.recordings {
		r.drop()
	}
	for _, p := range e.memory {
		errs = append(errs, d.free(p))
	}
	for _, b := range e.buffers {
		errs = append(errs, d.free(b.p))
	}
	for _, p := range e.pinned {
		errs = append(errs, cu.MemFreeHost(p.p))
	}
	for _, s := range e.slots {
		errs = append(errs, d.freeSlot(s))
	}
	for i := range e.events {
		errs = append(errs, cu.DestroyEvent(&e.events[i]))
	}
	return errors.Join(errs...)
}

// inherit takes back what has no owner any more.
func (d *Device) inherit() error {
	d.wills.Lock()
	list := d.wills.list
	d.wills.list = nil
	d.wills.Unlock()
	if len(list) == 0 {
		return nil
	}
	errs := []error{cu.Synchronize()} // the last work of the owners may be under way
	for _, e := range list {
		errs = append(errs, e.release())
	}
	return errors.Join(errs...)
}

// orphans looks for owners that are gone, waits for a moment until the runtime has told of them, and takes back what they held. It
// says whether that was anything.
func (d *Device) orphans() (bool, error) {
	before := d.bytes
	runtime.GC()
	for range 20 {
		if err := d.inherit(); err != nil || d.bytes < before {
			return d.bytes < before, err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false, nil
}
