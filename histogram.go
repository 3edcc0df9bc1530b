package contraflow

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// buckets are quarter powers of two from 1 ns to about 18 minutes.
const buckets = 160

// histogram counts durations without a lock.
type histogram struct {
	counts [buckets]atomic.Int64
	max    atomic.Int64
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(d)].Add(1)
	for old := h.max.Load(); int64(d) > old && !h.max.CompareAndSwap(old, int64(d)); old = h.max.Load() {
	}
}

// bucket is 4·log2(d), the fraction from the two bits after the leading one.
func bucket(d time.Duration) int {
	if d < 4 {
		return 0
	}
	top := bits.Len64(uint64(d)) - 1
	return min(4*top+int(uint64(d)>>(top-2)&3), buckets-1)
}

// upper is the largest duration in a bucket.
func upper(b int) time.Duration {
	return time.Duration(math.Ldexp(1+float64(b%4+1)/4, b/4))
}

// percentile is the largest duration of the bucket that holds quantile q, at most the largest seen.
func percentile(counts *[buckets]int64, q float64, most time.Duration) time.Duration {
	var total, seen int64
	for _, c := range counts {
		total += c
	}
	if total == 0 {
		return 0
	}
	for b, c := range counts {
		seen += c
		if float64(seen) >= q*float64(total) {
			return min(upper(b), most)
		}
	}
	return most
}
