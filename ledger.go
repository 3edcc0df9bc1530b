package contraflow

import (
	"sync"
	"time"
)

// mode is what a worker of a stage does at a moment.
type mode uint8

const (
	done    mode = iota // nothing more to do
	busy                // inside the stage's function
	starved             // waiting for input
	blocked             // waiting for room in the output
	waited              // waiting on a feedback edge
	modes
	keep = modes // leave the idle as they are
)

// ledger books the time of a stage's workers: at every moment each of them is in one mode, so the times of a stage add up to
// its workers' time. Times are nanoseconds on the graph's clock.
type ledger struct {
	mu      sync.Mutex
	at      int64 // booked up to here
	workers int   // that may be busy at once
	calls   int   // of them in a call
	waits   int   // of them waiting on a feedback edge inside a call
	idle    mode  // what the others do
	held    bool  // calls are blocked: the foreign flow behind them waits for room
	freed   int64 // when they last were no more
	spent   [modes]int64
}

// book adds the time since the last change. The lock is held.
func (l *ledger) book(now int64) {
	d := now - l.at
	if d <= 0 { // another goroutine read the clock later and came first
		return
	}
	l.at = now
	work := busy
	if l.held {
		work = blocked
	}
	l.spent[work] += d * int64(l.calls)
	l.spent[waited] += d * int64(l.waits)
	if rest := l.workers - l.calls - l.waits; rest > 0 {
		l.spent[l.idle] += d * int64(rest)
	}
}

// rest says what the workers that are not in a call do from now on.
func (l *ledger) rest(now int64, m mode) {
	l.mu.Lock()
	l.book(now)
	l.idle = m
	l.mu.Unlock()
}

// move changes how many workers are in a call and how many wait inside one.
func (l *ledger) move(now int64, calls, waits int) {
	l.mu.Lock()
	l.book(now)
	l.calls += calls
	l.waits += waits
	l.mu.Unlock()
}

// leave ends a call and says what the idle do from now on.
func (l *ledger) leave(now int64, m mode) {
	l.mu.Lock()
	l.book(now)
	l.calls--
	if m != keep {
		l.idle = m
	}
	l.mu.Unlock()
}

// hold says whether calls are blocked.
func (l *ledger) hold(now int64, held bool) {
	l.mu.Lock()
	l.book(now)
	if l.held && !held {
		l.freed = now
	}
	l.held = held
	l.mu.Unlock()
}

// blocking says whether calls are blocked, and when they last were no more.
func (l *ledger) blocking() (held bool, freed int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held, l.freed
}

// resize changes the number of workers.
func (l *ledger) resize(now int64, workers int) {
	l.mu.Lock()
	l.book(now)
	l.workers = workers
	l.mu.Unlock()
}

// read gives the times up to now, and the number of workers.
func (l *ledger) read(now int64) (spent [modes]time.Duration, workers int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book(now)
	for m, d := range l.spent {
		spent[m] = time.Duration(d)
	}
	return spent, l.workers
}

// now is the graph's clock: nanoseconds since Run began.
func (g *Graph) now() int64 { return int64(time.Since(g.begin)) }
