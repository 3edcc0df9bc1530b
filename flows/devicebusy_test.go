package flows

import (
	"math"
	"testing"
	"time"
)

// Of a device's time after its first fifth, what its operations cover is busy, whatever lies within them; an upload is hidden as
// far as it runs beside them.
func TestDeviceBusy(t *testing.T) {
	ms := func(v int) time.Duration { return time.Duration(v) * time.Millisecond }
	zero := time.Now()
	var m busyMeter
	for _, s := range []struct {
		name     string
		from, to int
	}{
		{"forward", 0, 100}, // covers everything and counts for nothing
		{"conv", 0, 30}, {"conv", 30, 50}, {"contrast", 60, 80}, {"gather", 62, 70}, {"upload", 45, 65}, {"sgd", 90, 100},
		{"upload", 5, 15}, // before the window
	} {
		m.add(s.name, zero.Add(ms(s.from)), ms(s.to-s.from))
	}
	b := m.result()
	// the window is 20 to 100: busy from 20 to 50, 60 to 80, 90 to 100; of the upload 45 to 50 and 60 to 65
	if math.Abs(b.Share-60.0/80) > 1e-9 || math.Abs(b.Hidden-10.0/20) > 1e-9 || math.Abs(b.UploadMS-20) > 1e-9 || b.Seconds != 0.08 {
		t.Errorf("busy %+v", *b)
	}
	if b.Seams != 0 {
		t.Errorf("seams %v without any", b.Seams)
	}
	var events busyMeter
	for i := range 100 { // gaps of 4 µs between four of 16, and one of 24
		for k := range 4 {
			events.add("conv", zero.Add(time.Duration(100*i+20*k)*time.Microsecond), 16*time.Microsecond)
		}
	}
	if b := events.result(); math.Abs(b.Share-0.76) > 2e-3 || math.Abs(b.Seams-0.12) > 2e-3 {
		t.Errorf("busy %+v, want 0.76 of which seams are 0.12", *b)
	}
	if (&busyMeter{}).result() != nil {
		t.Error("nothing measured gives a number")
	}
}
