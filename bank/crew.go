package bank

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// crew shares the queries of a batch among all cores. Which core gets which is left to chance; what a query gives is not. Its
// workers are goroutines of one call, whose functions and memory are kept from call to call.
type crew struct {
	call    scoring
	n       int // queries
	next    atomic.Int64
	wait    sync.WaitGroup
	workers []func()
	sums    [][]float32 // [worker][D]
}

// run does every query that counts, and waits.
func (c *crew) run(call scoring, n int) {
	c.call, c.n = call, n
	c.next.Store(0)
	threads := max(1, min(runtime.GOMAXPROCS(0), n))
	for len(c.workers) < threads {
		w := len(c.workers)
		c.sums = append(c.sums, nil)
		c.workers = append(c.workers, func() {
			defer c.wait.Done()
			c.work(w)
		})
	}
	c.wait.Add(threads)
	for w := 1; w < threads; w++ {
		go c.workers[w]()
	}
	c.workers[0]()
	c.wait.Wait()
	c.call = scoring{}
}

func (c *crew) work(worker int) {
	if len(c.sums[worker]) < c.call.D {
		c.sums[worker] = make([]float32, c.call.D)
	}
	sum := c.sums[worker][:c.call.D]
	for {
		q := int(c.next.Add(1)) - 1
		if q >= c.n {
			return
		}
		if c.call.counts(q) {
			c.call.one(q, sum)
		}
	}
}
