package flows

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/contraflow/contraflow/ops"
)

// DeviceBusy is what a device that works behind the host's back did over some time, by its own clock.
type DeviceBusy struct {
	Share    float64 `json:"busy_share"`   // of the time, in which one of its operations ran, seams between two included
	Seams    float64 `json:"seam_share"`   // of the time, a part of Share: gaps too short to tell from what measuring costs
	UploadMS float64 `json:"upload_ms"`    // of all uploads
	Hidden   float64 `json:"hidden_share"` // of the uploads' time, in which the device was computing
	Seconds  float64 `json:"seconds"`
}

func (b DeviceBusy) String() string {
	return fmt.Sprintf("busy %.1f %% of %.1f s, %.1f %% of it seams between operations; %.1f %% of %.0f ms of uploads beside compute", 100*b.Share, b.Seconds,
		100*b.Seams, 100*b.Hidden, b.UploadMS)
}

// interval is a time by the device's clock, since the first span.
type interval struct{ from, to time.Duration }

// busyMeter collects a device's spans.
type busyMeter struct {
	first           time.Time
	compute, upload []interval
}

// add is told of every span. Whole passes are left out: they also cover the gaps between their operations.
func (m *busyMeter) add(name string, start time.Time, d time.Duration) {
	if name == "forward" || name == "backward" {
		return
	}
	if m.first.IsZero() {
		m.first = start
	}
	at := interval{start.Sub(m.first), start.Sub(m.first) + d}
	if name == "upload" {
		m.upload = append(m.upload, at)
	} else {
		m.compute = append(m.compute, at)
	}
}

// result is about the last four fifths of the time.
func (m *busyMeter) result() *DeviceBusy {
	compute, strict := joined(m.compute, seam), joined(m.compute, 0)
	if len(compute) == 0 {
		return nil
	}
	end := compute[len(compute)-1].to
	window := interval{compute[0].from + (end-compute[0].from)/5, end}
	length := window.to - window.from
	if length <= 0 {
		return nil
	}
	uploads := common(m.upload, []interval{window})
	share := func(v []interval) float64 { return float64(total(common(v, []interval{window}))) / float64(length) }
	b := &DeviceBusy{Share: share(compute), Seconds: length.Seconds(), UploadMS: 1000 * total(uploads).Seconds(), Hidden: 1}
	b.Seams = b.Share - share(strict)
	if t := total(uploads); t > 0 {
		b.Hidden = float64(total(common(uploads, compute))) / float64(t)
	}
	return b
}

// seam is how far two operations may lie apart without idleness: an event between them, which measuring takes, costs a device some
// microseconds; having to wait for the host costs it ten and more.
const seam = 5 * time.Microsecond

// joined are the times that any of the intervals covers, in order, with gaps of up to some length between them.
func joined(v []interval, gap time.Duration) (out []interval) {
	v = slices.Clone(v)
	slices.SortFunc(v, func(a, b interval) int { return cmp.Compare(a.from, b.from) })
	for _, i := range v {
		if k := len(out) - 1; k >= 0 && i.from <= out[k].to+gap {
			out[k].to = max(out[k].to, i.to)
		} else {
			out = append(out, i)
		}
	}
	return out
}

// common are the parts of intervals a in which one of b, which are joined, runs.
func common(a, b []interval) (out []interval) {
	for _, i := range a {
		k, _ := slices.BinarySearchFunc(b, i.from, func(x interval, at time.Duration) int { return cmp.Compare(x.to, at) })
		for ; k < len(b) && b[k].from < i.to; k++ {
			if part := (interval{max(i.from, b[k].from), min(i.to, b[k].to)}); part.to > part.from {
				out = append(out, part)
			}
		}
	}
	return out
}

func total(v []interval) (sum time.Duration) {
	for _, i := range v {
		sum += i.to - i.from
	}
	return sum
}

// watch measures how busy the run's device is until stop is called; nil for a device whose calls return when the work is done.
func (r *Run) watch() (stop func() *DeviceBusy) {
	tracer, ok := r.net.device.(ops.Tracer)
	if !ok || !tracer.Behind() {
		return func() *DeviceBusy { return nil }
	}
	m := &busyMeter{}
	tracer.OnSpan(m.add)
	return func() *DeviceBusy {
		tracer.OnSpan(nil)
		return m.result()
	}
}
