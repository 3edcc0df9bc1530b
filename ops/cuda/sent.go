//go:build cuda

package cuda

import (
	"slices"
	"sync"

	"github.com/contraflow/contraflow/ops"
)

var _ ops.Sender = (*Device)(nil)

// sent are pictures in pinned memory, on their way to the device, or there.
type sent struct {
	d *Device
	s *slot // nil when released
	n int   // bytes
}

// waiting are the slots of pictures that wait for their pass.
type waiting struct {
	sync.Mutex
	idle   []*slot
	all    []*slot
	packed []*sent // not on their way yet
}

// Send implements ops.Sender. It does without the owner's thread, which may be waiting for a pass, and copies into pinned memory on the
// caller's. The pictures leave when the device has just been given a pass, so that they travel beside it: see dispatch.
func (d *Device) Send(rgb []byte) (ops.Sent, error) {
	s, err := d.slotFor(len(rgb))
	if err != nil {
		return nil, err
	}
	if err := d.await(s.uploaded); err != nil { // of what the slot held before: long past
		return nil, err
	}
	copy(s.host.bytes(), rgb)
	p := &sent{d, s, len(rgb)}
	d.waiting.Lock()
	defer d.waiting.Unlock()
	d.waiting.packed = append(d.waiting.packed, p)
	return p, nil
}

// dispatch puts all packed pictures on the copy stream.
func (d *Device) dispatch() error {
	d.waiting.Lock()
	defer d.waiting.Unlock()
	for _, p := range d.waiting.packed {
		if err := d.depart(p.s, p.n); err != nil {
			return err
		}
	}
	d.waiting.packed = d.waiting.packed[:0]
	return nil
}

// arrive makes the compute stream wait for the pictures, which leave now unless they have.
func (p *sent) arrive() error {
	p.d.waiting.Lock()
	late := slices.Contains(p.d.waiting.packed, p)
	p.d.waiting.Unlock()
	if late {
		if err := p.d.dispatch(); err != nil {
			return err
		}
	}
	return p.d.compute.Wait(p.s.uploaded, 0)
}

// slotFor is an idle slot of n bytes or more. Without one another idle slot grows: mixtures make batches of many sizes.
func (d *Device) slotFor(n int) (*slot, error) {
	w := &d.waiting
	w.Lock()
	defer w.Unlock()
	i := slices.IndexFunc(w.idle, func(s *slot) bool { return s.host.n >= n })
	if i < 0 && len(w.idle) > 0 {
		i = 0
	}
	s := &slot{}
	if i >= 0 {
		s = w.idle[i]
		w.idle = slices.Delete(w.idle, i, i+1)
	} else {
		w.all = append(w.all, s)
	}
	if s.host.n >= n {
		return s, nil
	}
	w.Unlock() // the owner may be about to dispatch
	err := d.do(func() error { return d.fit(s, n, "pictures that wait for their turn") })
	w.Lock()
	if err != nil {
		w.idle = append(w.idle, s)
	}
	return s, err
}

// Release implements ops.Sent.
func (p *sent) Release() {
	w := &p.d.waiting
	w.Lock()
	defer w.Unlock()
	if p.s != nil {
		w.packed = slices.DeleteFunc(w.packed, func(q *sent) bool { return q == p })
		w.idle = append(w.idle, p.s)
		p.s = nil
	}
}
