//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"gorgonia.org/cu"
)

// Span is a piece of work on the device, as its clock saw it.
type Span struct {
	Name         string
	Start        float64 // milliseconds after Spans(true)
	Milliseconds float64
	Copy         bool // on the copy stream
}

// renew is how many milliseconds lie between two beginnings of a recorder's clock at least. Tests change it.
var renew = 4000.0

// recorder keeps pairs of events around pieces of work. Without one, spans cost nothing. Both threads use it.
type recorder struct {
	sync.Mutex
	zero  cu.Event
	since float64 // milliseconds from Spans(true) to zero
	list  []mark
	free  []cu.Event
	err   error // the first of recording
	ended bool
}

type mark struct {
	name       string
	begin, end cu.Event
	copy       bool
}

// Spans turns the recording of device timings on or off. Recording adds two events to every piece of work, no waiting.
func (d *Device) Spans(on bool) {
	d.later(func() (err error) {
		if r := d.spans.Swap(nil); r != nil {
			if err := r.end(); err != nil {
				return err
			}
		}
		if !on {
			return nil
		}
		r := &recorder{}
		if r.zero, err = cu.MakeEvent(cu.DefaultEvent); err != nil {
			return err
		}
		if err := r.zero.Record(d.compute); err != nil {
			return err
		}
		d.spans.Store(r)
		return d.copies.Wait(r.zero, 0) // nothing lies before the beginning
	})
}

// end gives back what a recorder holds.
func (r *recorder) end() error {
	r.Lock()
	defer r.Unlock()
	r.ended = true
	r.free = append(r.free, r.zero)
	for _, m := range r.list {
		r.free = append(r.free, m.begin, m.end)
	}
	for i := range r.free {
		if err := cu.DestroyEvent(&r.free[i]); err != nil {
			return err
		}
	}
	return nil
}

// event records an event, one that was used before if there is one.
func (r *recorder) event(s cu.Stream) (e cu.Event) {
	if r.err != nil {
		return e
	}
	if k := len(r.free); k > 0 {
		e, r.free = r.free[k-1], r.free[:k-1]
	} else if e, r.err = cu.MakeEvent(cu.DefaultEvent); r.err != nil {
		return e
	}
	r.err = e.Record(s)
	return e
}

// OnSpan implements ops.Tracer. Spans of finished work are told while the host waits for an output: then the device is busy, and
// telling costs it nothing.
func (d *Device) OnSpan(f func(name string, start time.Time, d time.Duration)) {
	d.tell(true) // what is left of before
	d.told = nil
	d.Spans(f != nil)
	if f == nil {
		return
	}
	d.later(d.compute.Synchronize) // the device has just passed the beginning
	zero := time.Now()
	ms := func(v float64) time.Duration { return time.Duration(v * float64(time.Millisecond)) }
	d.told = func(s Span) { f(s.Name, zero.Add(ms(s.Start)), ms(s.Milliseconds)) }
}

// Behind implements ops.Tracer.
func (d *Device) Behind() bool { return true }

// tell hands spans to who asked for them, of all work or of what is finished.
func (d *Device) tell(all bool) {
	if d.told == nil {
		return
	}
	for _, s := range d.takeSpans(all) {
		d.told(s)
	}
}

// TakeSpans waits for the recorded work and returns its timings, in the order it was put on the streams.
func (d *Device) TakeSpans() []Span { return d.takeSpans(true) }

func (d *Device) takeSpans(all bool) (out []Span) {
	d.later(func() error {
		r := d.spans.Load()
		if r == nil {
			return nil
		}
		if all {
			if err := cu.Synchronize(); err != nil {
				return err
			}
		}
		r.Lock()
		defer r.Unlock()
		if r.err != nil {
			return fmt.Errorf("record a span: %w", r.err)
		}
		left := r.list[:0]
		for i, m := range r.list {
			if !all {
				if err := m.end.Query(); errors.Is(err, cu.NotReady) {
					left = append(left, m)
					if m.copy {
						continue
					}
					left = append(left, r.list[i+1:]...) // what comes later on the stream is not finished either
					break
				} else if err != nil {
					return fmt.Errorf("span %s: %w", m.name, err)
				}
			}
			start, err := r.zero.Elapsed(m.begin) // a float32: exact to a microsecond for some seconds only
			if err != nil {
				return fmt.Errorf("span %s: %w", m.name, err)
			}
			length, err := m.begin.Elapsed(m.end)
			if err != nil {
				return fmt.Errorf("span %s: %w", m.name, err)
			}
			out = append(out, Span{m.name, r.since + start, length, m.copy})
			r.free = append(r.free, m.end)
			if start > renew && !m.copy {
				r.zero, m.begin, r.since = m.begin, r.zero, r.since+start
			}
			r.free = append(r.free, m.begin)
		}
		r.list = left
		return nil
	})
	return out
}

// span measures the work that is put on the compute stream until the function it returns is called.
func (d *Device) span(name string) func() { return d.spanOn(name, d.compute, false) }

func (d *Device) spanOn(name string, s cu.Stream, copies bool) func() {
	r := d.spans.Load()
	if r == nil {
		return func() {}
	}
	r.Lock()
	defer r.Unlock()
	begin := r.event(s)
	return func() {
		r.Lock()
		defer r.Unlock()
		if r.ended { // meanwhile: its events are of no use any more
			_ = cu.DestroyEvent(&begin)
			return
		}
		if end := r.event(s); r.err == nil {
			r.list = append(r.list, mark{name, begin, end, copies})
		}
	}
}

// Copy copies n bytes on the device, for comparison: what one of its kernels can hope for.
func (d *Device) Copy(n int64) error {
	return d.do(func() error {
		if err := d.grow(&d.apart, 2*n, "a copy"); err != nil {
			return err
		}
		defer d.span("copy")()
		return cu.MemcpyDtoDAsync(d.apart.p, at(d.apart.p, n), n, d.compute)
	})
}
