package contraflow

import (
	"testing"
	"time"
)

// A percentile is never below the duration that it stands for, at most a quarter above it, and never above the largest.
func TestPercentile(t *testing.T) {
	for d := time.Duration(4); d < 15*time.Minute; d = d*9/8 + 1 {
		if u := upper(bucket(d)); u < d || u > d+d/4 {
			t.Errorf("%d ns is counted as up to %d ns", d, u)
		}
	}
	var h histogram
	for i := range 100 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	h.add(time.Hour) // beyond the last bucket
	var counts [buckets]int64
	for b := range counts {
		counts[b] = h.counts[b].Load()
	}
	most := time.Duration(h.max.Load())
	for _, c := range []struct {
		q        float64
		from, to time.Duration
	}{{0.5, 51 * time.Millisecond, 64 * time.Millisecond}, {0.99, 100 * time.Millisecond, 125 * time.Millisecond}, {1, 18 * time.Minute, time.Hour}} {
		if got := percentile(&counts, c.q, most); got < c.from || got > c.to {
			t.Errorf("of 1 to 100 ms and an hour, %v are at most %v", c.q, got)
		}
	}
	if got := percentile(&counts, 0.5, 40*time.Millisecond); got != 40*time.Millisecond {
		t.Errorf("%v, the largest is 40 ms", got)
	}
	if got := percentile(new([buckets]int64), 0.5, 0); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
