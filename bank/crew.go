package bank

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// crew shares groups of queries of a batch among all cores. Which core gets which is left to chance; what a query gives is not. Its
// workers are goroutines of one call, whose functions and memory are kept from call to call.
type crew struct {
	call    scoring
	n       int // queries
	groups  int // of queries
	next    atomic.Int64
	wait    sync.WaitGroup
	workers []func()
	sums    [][]float32         // [worker][query of a group][D]
	failed  atomic.Pointer[any] // the first panic of a worker
}

// run does every query that counts, and waits. A worker's panic becomes the caller's.
func (c *crew) run(call scoring, n int) {
	c.call, c.n = call, n
	c.next.Store(0)
	threads := max(1, min(runtime.GOMAXPROCS(0), n))
	c.groups = c.call.groups(n, threads)
	for len(c.workers) < threads {
		w := len(c.workers)
		c.sums = append(c.sums, nil)
		c.workers = append(c.workers, func() {
			defer c.wait.Done()
			defer func() {
				if r := recover(); r != nil {
					first := r // r itself would be on the heap in every call
					c.failed.CompareAndSwap(nil, &first)
				}
			}()
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
	if r := c.failed.Swap(nil); r != nil {
		panic(*r)
	}
}

func (c *crew) work(worker int) {
	size := (c.n + c.groups - 1) / c.groups * c.call.D
	if len(c.sums[worker]) < size {
		c.sums[worker] = make([]float32, size)
	}
	for {
		g := int(c.next.Add(1)) - 1
		if g >= c.groups {
			return
		}
		from, to := c.n*g/c.groups, c.n*(g+1)/c.groups
		c.call.some(from, to, c.sums[worker][:(to-from)*c.call.D])
	}
}
