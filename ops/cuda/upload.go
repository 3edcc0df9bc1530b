//go:build cuda

package cuda

import (
	"errors"
	"unsafe"

	"gorgonia.org/cu"
)

// slot is one buffer of an upload: pinned host memory and its place on the device. Two of them take turns, so that a batch
// is copied while the one before is computed.
type slot struct {
	host     pinned
	dev      cu.DevicePtr
	uploaded cu.Event // on the copy stream: host may be written again
	used     cu.Event // on the compute stream: dev may be written again
}

func (d *Device) newSlot(n int, what string) (s slot, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, d.freeSlot(&s))
		}
	}()
	if s.dev, err = d.alloc(int64(n), what, lowerBatch); err != nil {
		return s, err
	}
	if s.host, err = d.pin(n); err != nil {
		return s, err
	}
	if s.uploaded, err = cu.MakeEvent(cu.DisableTiming); err != nil {
		return s, err
	}
	s.used, err = cu.MakeEvent(cu.DisableTiming)
	return s, err
}

// fit makes a slot n bytes at least; what it held is gone.
func (d *Device) fit(s *slot, n int, what string) error {
	if s.host.n >= n {
		return nil
	}
	if err := cu.Synchronize(); err != nil {
		return err
	}
	fresh, err := d.newSlot(n, what)
	if err != nil {
		return err
	}
	err = d.freeSlot(s)
	*s = fresh
	return err
}

// sender is send or hand.
type sender func(s *slot, n int, fill func(host []byte)) (done func() error, err error)

// send copies n bytes, which fill puts into the slot's host memory, to the device on the copy stream; the compute stream goes
// on when they are there. done must be called when the work that reads them is on the stream.
func (d *Device) send(s *slot, n int, fill func(host []byte)) (done func() error, err error) {
	if err := s.uploaded.Synchronize(); err != nil {
		return nil, err
	}
	fill(s.host.bytes()[:n])
	if err := d.depart(s, n); err != nil {
		return nil, err
	}
	if err := d.compute.Wait(s.uploaded, 0); err != nil {
		return nil, err
	}
	return func() error { return s.used.Record(d.compute) }, nil
}

// depart puts the copy of a slot's n bytes on the copy stream, behind the last work that reads what was there.
func (d *Device) depart(s *slot, n int) error {
	if err := d.copies.Wait(s.used, 0); err != nil {
		return err
	}
	copied := d.spanOn("upload", d.copies, true)
	if err := cu.MemcpyHtoDAsync(s.dev, s.host.p, int64(n), d.copies); err != nil {
		return err
	}
	copied()
	return s.uploaded.Record(d.copies)
}

// hand is send on the compute stream itself: for what is small and needed at once, which on the copy stream might have to wait until
// the pictures of a batch are through.
func (d *Device) hand(s *slot, n int, fill func(host []byte)) (done func() error, err error) {
	if err := s.uploaded.Synchronize(); err != nil {
		return nil, err
	}
	fill(s.host.bytes()[:n])
	handed := d.span("small upload")
	if err := cu.MemcpyHtoDAsync(s.dev, s.host.p, int64(n), d.compute); err != nil {
		return nil, err
	}
	handed()
	if err := s.uploaded.Record(d.compute); err != nil {
		return nil, err
	}
	return func() error { return s.used.Record(d.compute) }, nil
}

// parcel collects host slices for one upload.
type parcel struct {
	parts [][]byte
	size  int64
}

// add returns where b will be, relative to the upload's beginning; -1 for nothing.
func (p *parcel) add(b []byte) int64 {
	if len(b) == 0 {
		return -1
	}
	at := p.size
	p.parts = append(p.parts, b)
	p.size += roundUp(int64(len(b)), 256)
	return at
}

// deliver sends a parcel; the slot grows when it is too small.
func (d *Device) deliver(s *slot, p *parcel, send sender, what string) (func() error, error) {
	if err := d.fit(s, int(p.size), what); err != nil {
		return nil, err
	}
	return send(s, int(p.size), func(host []byte) {
		at := int64(0)
		for _, b := range p.parts {
			copy(host[at:], b)
			at += roundUp(int64(len(b)), 256)
		}
	})
}

// partOf is the device address of a part of a parcel, null for -1.
func partOf(s *slot, offset int64) cu.DevicePtr {
	if offset < 0 {
		return 0
	}
	return at(s.dev, offset)
}

// asBytes sees floats as bytes.
func asBytes(x []float32) []byte {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x))
}

// freeSlot gives back what there is of a slot; nothing may be using it.
func (d *Device) freeSlot(s *slot) error {
	errs := []error{d.free(s.dev)}
	if s.host.p != nil {
		errs = append(errs, cu.MemFreeHost(s.host.p))
	}
	for _, e := range []*cu.Event{&s.uploaded, &s.used} {
		if *e != (cu.Event{}) {
			errs = append(errs, cu.DestroyEvent(e))
		}
	}
	return errors.Join(errs...)
}
