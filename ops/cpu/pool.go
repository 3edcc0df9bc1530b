package cpu

import (
	"runtime"
	"sync/atomic"
)

// pool runs chunks of work on a fixed number of goroutines, of which the caller is one. Which worker gets a chunk is
// left to chance; what a chunk computes is not.
//
// A worker begins with a share of its own, chunks that follow one another, and takes the last ones of others when it is done with
// it. As chunks follow the data, a worker mostly reads what it wrote itself in the operation before, which its own caches hold: from
// those of a core with another third-level cache data comes no faster than from memory.
//
// A worker that has nothing to do looks for work for some 100 µs, a few times what waking it costs, then sleeps; so does the caller
// when the last chunks take longer elsewhere. A worker that comes late, because the machine is busy with something else, finds the
// run closed: nobody waits for one that has not begun.
type pool struct {
	threads int
	job     func(worker, chunk int)

	shares []share // of the chunks, one a worker

	_     [64]byte      // the counters lie on cache lines of their own
	state atomic.Uint64 // number of the run, whether it is open, workers in it
	_     [64]byte

	workers []*worker
	caller  worker
	closed  atomic.Bool
}

// Parts of pool.state.
const (
	oneWorker = 1
	active    = 1<<16 - 1
	open      = 1 << 16
	oneRun    = 1 << 17
)

// share is chunks from, of the lower half, to, of the upper half.
type share struct {
	left atomic.Uint64
	_    [120]byte
}

// take is the first chunk left, or for a thief the last one; -1 when there is none.
func (s *share) take(thief bool) int {
	for {
		l := s.left.Load()
		from, to := l&(1<<32-1), l>>32
		switch {
		case from >= to:
			return -1
		case thief:
			if s.left.CompareAndSwap(l, from|(to-1)<<32) {
				return int(to - 1)
			}
		case s.left.CompareAndSwap(l, l+1):
			return int(from)
		}
	}
}

type worker struct {
	asleep atomic.Bool
	wake   chan struct{} // holds a token for whoever cleared asleep
}

// looks is how often a worker looks for work before it sleeps, and polite after how many looks it lets others run.
const (
	looks  = 200000
	polite = 500
)

// newPool starts the workers; 0 threads means one a core.
func newPool(threads int) *pool {
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	p := &pool{threads: threads, shares: make([]share, threads), caller: worker{wake: make(chan struct{}, 1)}}
	for i := 1; i < threads; i++ {
		w := &worker{wake: make(chan struct{}, 1)}
		p.workers = append(p.workers, w)
		go p.serve(w, i)
	}
	return p
}

// run calls job for every chunk in [0, chunks) and waits.
func (p *pool) run(chunks int, job func(worker, chunk int)) {
	if chunks <= 1 || p.threads == 1 {
		for c := range chunks {
			job(0, c)
		}
		return
	}
	p.job = job
	for w := range p.shares {
		from, to := span(chunks, len(p.shares), w)
		p.shares[w].left.Store(uint64(from) | uint64(to)<<32)
	}
	p.state.Store((p.state.Load()&^(oneRun-1) + oneRun) | open)
	for _, w := range p.workers[:min(len(p.workers), chunks-1)] {
		w.rouse()
	}
	p.work(0)
	for {
		s := p.state.Load()
		if p.state.CompareAndSwap(s, s&^open) {
			break
		}
	}
	for look := 1; p.state.Load()&active != 0; look++ {
		switch {
		case look >= looks:
			look = 0
			p.caller.asleep.Store(true)
			if p.state.Load()&active != 0 || !p.caller.asleep.CompareAndSwap(true, false) {
				<-p.caller.wake
			}
		case look%polite == 0:
			runtime.Gosched()
		}
	}
	p.job = nil
}

// rouse wakes a worker that sleeps.
func (w *worker) rouse() {
	if w.asleep.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}

// serve is the life of worker number i.
func (p *pool) serve(w *worker, i int) {
	var last uint64
	for look := 0; ; look++ {
		s := p.state.Load()
		if run := s / oneRun; s&open != 0 && run != last {
			if p.state.CompareAndSwap(s, s+oneWorker) {
				last, look = run, 0
				p.work(i)
				if s := p.state.Add(^uint64(oneWorker - 1)); s&(active|open) == 0 {
					p.caller.rouse()
				}
			}
			continue
		}
		switch {
		case look < looks && look%polite == polite-1:
			runtime.Gosched()
		case look >= looks:
			look = 0
			if p.closed.Load() {
				return
			}
			w.asleep.Store(true)
			if s := p.state.Load(); (s&open != 0 && s/oneRun != last || p.closed.Load()) && w.asleep.CompareAndSwap(true, false) {
				continue
			}
			<-w.wake
		}
	}
}

// work does the worker's own share, then what is left of the others'.
func (p *pool) work(worker int) {
	for i := range p.shares {
		s := &p.shares[(worker+i)%len(p.shares)]
		for c := s.take(i > 0); c >= 0; c = s.take(i > 0) {
			p.job(worker, c)
		}
	}
}

func (p *pool) close() {
	p.closed.Store(true)
	for _, w := range p.workers {
		w.rouse()
	}
	p.workers, p.threads = nil, 1
}

// span is the piece of n items that chunk c of chunks covers.
func span(n, chunks, c int) (from, to int) { return n * c / chunks, n * (c + 1) / chunks }

// pieces is how many chunks of at least size items n items are cut into, at most most.
func pieces(n, size, most int) int { return max(1, min(most, n/max(size, 1))) }
