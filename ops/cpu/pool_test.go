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
