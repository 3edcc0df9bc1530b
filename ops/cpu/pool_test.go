package cpu

import (
	"sync/atomic"
	"testing"
	"time"
)

// Every chunk runs once, whatever the workers do: run after run, with pauses in which they fall asleep, and with a last chunk
// that lets the caller fall asleep.
func TestPool(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 8} {
		p := newPool(threads)
		for run := range 2000 {
			chunks := run % 11
			if run%401 == 0 {
				time.Sleep(2 * time.Millisecond)
			}
			done := make([]atomic.Int32, chunks)
			p.run(chunks, func(worker, c int) {
				if worker < 0 || worker >= threads {
					t.Errorf("worker %d of %d", worker, threads)
				}
				if run%500 == 9 && c == 0 {
					time.Sleep(3 * time.Millisecond)
				}
				done[c].Add(1)
			})
			for c := range done {
				if n := done[c].Load(); n != 1 {
					t.Fatalf("%d threads, run %d: chunk %d ran %d times", threads, run, c, n)
				}
			}
		}
		p.close()
	}
}

// A gradient's segments have equally many pieces, no fewer than it needs, and no more memory than four of it or the limit.
func TestInParts(t *testing.T) {
	for n := 1; n <= 200; n++ {
		for _, size := range []int{1, 9 * 64 * 64, segmentFloats / 5, segmentFloats, segmentFloats + 1} {
			segments, pieces := inParts(n, size)
			switch {
			case segments == 1:
				if n > 1 && size <= segmentFloats || pieces != n {
					t.Errorf("%d pieces of %d values: one segment of %d", n, size, pieces)
				}
			case segments&(segments-1) != 0, pieces%segments != 0, pieces < n, pieces >= n+segments, segments > 4 && segments*size > segmentFloats:
				t.Errorf("%d pieces of %d values: %d segments of %d pieces in all", n, size, segments, pieces)
			}
		}
	}
}
