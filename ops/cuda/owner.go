//go:build cuda

package cuda

import (
	"runtime"
	"sync/atomic"
	"time"

	"gorgonia.org/cu"
)

// call is work for the goroutine that owns the device, and its answer.
type call struct {
	work func() error
	err  error
	over atomic.Bool
	told chan struct{} // closed when over; nil: nobody waits
}

// own is the goroutine that owns the device: the driver's state belongs to a thread.
func (d *Device) own(started chan<- error) {
	runtime.LockOSThread()
	started <- d.start()
	for c := d.next(); c != nil; c = d.next() {
		c.err = c.work()
		if c.told != nil {
			c.over.Store(true)
			close(c.told)
		}
	}
}

// patience is how long either side of a call looks for the other before it sleeps, where there are processors to spare. Waking a
// thread takes tens of microseconds, in which a device that has just answered stands still; between two calls of a step there is less.
const patience = 300 * time.Microsecond

// spare says whether two processors may be kept awake: the owner's and that of who waits for it.
func spare() bool { return runtime.GOMAXPROCS(0) >= 8 }

// spin asks until yes says so or patience ends.
func spin(yes func() bool) bool {
	if !spare() {
		return yes()
	}
	for begin := time.Now(); time.Since(begin) < patience; {
		for range 16 {
			if yes() {
				return true
			}
		}
	}
	return false
}

// next is the next call, nil when the device is closed.
func (d *Device) next() *call {
	spin(func() bool { return len(d.calls) > 0 })
	return <-d.calls
}

// do runs f on the owner goroutine and waits for it. An earlier failure that nobody could be told of comes first.
func (d *Device) do(f func() error) error {
	return d.call(func() error {
		if d.failed != nil {
			return d.failed
		}
		return d.explain(f())
	})
}

// later runs f where an error cannot be returned: it is kept for the next call.
func (d *Device) later(f func() error) { _ = d.call(d.keeping(f)) }

// post is later without waiting, in the order of all calls.
func (d *Device) post(f func() error) { d.calls <- &call{work: d.keeping(f)} }

// always is post of work that runs after a failure too, which it is told: somebody waits for it.
func (d *Device) always(f func(failed error)) {
	d.calls <- &call{work: func() error { f(d.failed); return nil }}
}

func (d *Device) keeping(f func() error) func() error {
	return func() error {
		if d.failed == nil {
			d.failed = d.explain(f())
		}
		return nil
	}
}

// await waits for an event on the caller's thread, which the driver keeps awake: it is back sooner than a goroutine that another
// thread has to wake, and the owner goes on.
func (d *Device) await(e cu.Event) error {
	runtime.LockOSThread() // with the context
	defer runtime.UnlockOSThread()
	if err := cu.SetCurrentContext(d.ctx); err != nil {
		return d.explain(err)
	}
	return d.explain(e.Synchronize())
}

// meet is await of what a call will answer at once: the owner waits too, so that it is awake then.
func (d *Device) meet(e cu.Event) error {
	if spare() {
		select {
		case d.calls <- &call{work: d.keeping(e.Synchronize)}:
		default: // it is awake
		}
	}
	return d.await(e)
}

func (d *Device) call(work func() error) error {
	c := &call{work: work, told: make(chan struct{})}
	d.calls <- c
	if !spin(c.over.Load) {
		<-c.told
	}
	return c.err
}
