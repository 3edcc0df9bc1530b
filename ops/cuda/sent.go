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

// waiting are the slots of pictures that wait for their pass.
type waiting struct {
	sync.Mutex
	idle []*slot
	all  []*slot
}

// Send implements ops.Sender. It does without the owner's thread, which may be waiting for a pass, and copies into pinned memory on the
// caller's.
func (d *Device) Send(rgb []byte) (ops.Sent, error) {
	s, err := d.slotFor(len(rgb))
	if err == nil {
		err = d.doSend(s.uploaded.Synchronize) // of what the slot held before: long past
	}
	if err != nil {
		return nil, err
	}
	copy(s.host.bytes(), rgb)
	return &sent{d, s}, d.doSend(func() error {
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

// doSend runs f on the second thread.
func (d *Device) doSend(f func() error) error {
	done := make(chan error, 1)
	d.sends <- func() {
		if d.sendFailed == nil {
			d.sendFailed = d.explain(f())
		}
		done <- d.sendFailed
	}
	return <-done
}

// slotFor is an idle slot of n bytes or more.
func (d *Device) slotFor(n int) (*slot, error) {
	d.waiting.Lock()
	defer d.waiting.Unlock()
	for i, s := range d.waiting.idle {
		if s.host.n >= n {
			d.waiting.idle = append(d.waiting.idle[:i], d.waiting.idle[i+1:]...)
			return s, nil
		}
	}
	fresh := &slot{}
	err := d.do(func() (err error) {
		*fresh, err = d.newSlot(n, "pictures that wait for their turn")
		return err
	})
	if err == nil {
		d.waiting.all = append(d.waiting.all, fresh)
	}
	return fresh, err
}

// Release implements ops.Sent.
func (p *sent) Release() {
	d := p.d
	d.waiting.Lock()
	defer d.waiting.Unlock()
	if p.s != nil {
		d.waiting.idle = append(d.waiting.idle, p.s)
		p.s = nil
	}
}
