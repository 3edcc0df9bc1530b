//go:build cuda

package cuda

import (
	"sync"

	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops"
)

var _ ops.Sender = (*Device)(nil)

// sent are pictures on their way to the device, or there.
type sent struct {
	d *Device
	s *slot // nil when released
}

// lounge are the slots of pictures that wait for their pass.
type lounge struct {
	sync.Mutex
	idle []*slot
	all  []*slot
}

// Send implements ops.Sender. It does without the owner's thread, which may be waiting for a pass, and copies into pinned memory on the
// caller's.
func (d *Device) Send(rgb []byte) (ops.Sent, error) {
	s, err := d.room(len(rgb))
	if err == nil {
		err = d.aboard(s.uploaded.Synchronize) // of what the slot held before: long past
	}
	if err != nil {
		return nil, err
	}
	copy(s.host.bytes(), rgb)
	return &sent{d, s}, d.aboard(func() error {
		if err := d.copies.Wait(s.used, 0); err != nil {
			return err
		}
		defer d.spanOn("upload", d.copies, true)()
		if err := cu.MemcpyHtoDAsync(s.dev, s.host.p, int64(len(rgb)), d.copies); err != nil {
			return err
		}
		return s.uploaded.Record(d.copies)
	})
}

// aboard runs f on the second thread.
func (d *Device) aboard(f func() error) error {
	done := make(chan error, 1)
	d.ferry <- func() {
		if d.ferried == nil {
			d.ferried = d.explain(f())
		}
		done <- d.ferried
	}
	return <-done
}

// room is an idle slot of n bytes or more.
func (d *Device) room(n int) (*slot, error) {
	d.lounge.Lock()
	defer d.lounge.Unlock()
	for i, s := range d.lounge.idle {
		if s.host.n >= n {
			d.lounge.idle = append(d.lounge.idle[:i], d.lounge.idle[i+1:]...)
			return s, nil
		}
	}
	fresh := &slot{}
	err := d.do(func() (err error) {
		*fresh, err = d.newSlot(n, "pictures that wait for their turn")
		return err
	})
	if err == nil {
		d.lounge.all = append(d.lounge.all, fresh)
	}
	return fresh, err
}

// Release implements ops.Sent.
func (p *sent) Release() {
	d := p.d
	d.lounge.Lock()
	defer d.lounge.Unlock()
	if p.s != nil {
		d.lounge.idle = append(d.lounge.idle, p.s)
		p.s = nil
	}
}
