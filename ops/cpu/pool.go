package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// pool runs chunks of work on a fixed number of goroutines, of which the caller is one. Which worker gets a chunk is
// left to chance; what a chunk computes is not.
type pool struct {
	threads int
	task    func(worker, chunk int)
	chunks  int
	next    atomic.Int64
	start   []chan struct{}
	done    sync.WaitGroup
}

// newPool starts the workers; 0 threads means one a core.
func newPool(threads int) *pool {
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	p := &pool{threads: threads}
	for w := 1; w < threads; w++ {
		c := make(chan struct{})
		p.start = append(p.start, c)
		go func() {
			for range c {
				p.work(w)
				p.done.Done()
			}
		}()
	}
	return p
}

// run calls task for every chunk in [0, chunks) and waits.
func (p *pool) run(chunks int, task func(worker, chunk int)) {
	if chunks <= 1 || p.threads == 1 {
		for c := range chunks {
			task(0, c)
		}
		return
	}
	p.task, p.chunks = task, chunks
	p.next.Store(0)
	helpers := min(len(p.start), chunks-1)
	p.done.Add(helpers)
	for _, c := range p.start[:helpers] {
		c <- struct{}{}
	}
	p.work(0)
	p.done.Wait()
	p.task = nil
}

func (p *pool) work(worker int) {
	for {
		c := int(p.next.Add(1)) - 1
		if c >= p.chunks {
			return
		}
		p.task(worker, c)
	}
}

func (p *pool) close() {
	for _, c := range p.start {
		close(c)
	}
	p.start, p.threads = nil, 1
}

// span is the piece of n items that chunk c of chunks covers.
func span(n, chunks, c int) (from, to int) { return n * c / chunks, n * (c + 1) / chunks }

// pieces is how many chunks of at least size items n items are cut into, at most most.
func pieces(n, size, most int) int { return max(1, min(most, n/max(size, 1))) }
