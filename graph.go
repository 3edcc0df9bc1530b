package contraflow

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// Graph is a set of stages joined by bounded edges. It is built by the free functions of this package (Source, Step,
// Fork2, …), by one goroutine and before Run; they start nothing, Run owns every goroutine. A Graph runs once: what is added while it
// runs does not run, and Run's error says so.
type Graph struct {
	name   string
	trace  func(Span)
	before func(stage string, item int64)
	watch  func(Stuck)
	limit  time.Duration // of the watchdog
	tuner  *tuner

	mu       sync.Mutex
	nodes    []*node
	edges    []*edge
	loops    []*loop
	mistakes []error
	started  bool

	begin  time.Time
	end    time.Time
	stop   chan struct{}
	once   sync.Once
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
}

// Option sets up a Graph.
type Option func(*Graph)

// WithTrace calls f after every item of every stage. f is called from many goroutines.
func WithTrace(f func(Span)) Option { return func(g *Graph) { g.trace = f } }

// WithProbe calls f at the beginning of every call of a stage's function, as part of it. Tests and studies slow or disturb
// single stages with it. f is called from many goroutines.
func WithProbe(f func(stage string, item int64)) Option { return func(g *Graph) { g.before = f } }

// New starts an empty graph. The name appears in drawings and errors.
func New(name string, opts ...Option) *Graph {
	g := &Graph{name: name, stop: make(chan struct{})}
	for _, o := range opts {
		o(g)
	}
	return g
}

// Name is the graph's name.
func (g *Graph) Name() string { return g.name }

// Stop asks every source to end after the item it is sending. The graph then drains: everything already sent is
// worked off, end hooks run, and Run returns nil. It may be called at any time, more than once.
func (g *Graph) Stop() { g.once.Do(func() { close(g.stop) }) }

// Run checks the graph, starts every stage, and waits for all of them. It returns the first error, which names its
// stage, or the cause of ctx's end; when it returns no goroutine of the graph is left but those that wait for foreign stages to end.
func (g *Graph) Run(ctx context.Context) error {
	if g.start(true) {
		return fmt.Errorf("graph %s: a graph runs once: build a new one", g.name)
	}
	if err := g.Check(); err != nil {
		for _, n := range g.nodes {
			n.refuse()
		}
		g.start(false)
		return err
	}
	g.mu.Lock()
	g.begin = time.Now()
	ctx, g.cancel = context.WithCancelCause(ctx)
	g.mu.Unlock()

	for _, n := range g.nodes {
		n.start(ctx)
	}
	watching, tuning := g.startWatchdog(ctx), g.startTuner(ctx)
	g.wg.Wait()
	cause := context.Cause(ctx)
	g.cancel(nil)
	watching.Wait()
	tuning.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.end = time.Now()
	if cause == nil {
		cause = errors.Join(g.mistakes...) // what was added meanwhile
	}
	return cause
}

// start says whether the graph had begun to run, and sets it.
func (g *Graph) start(now bool) (before bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before, g.started = g.started, now
	return before
}

// begun says whether Run has begun: from then on nodes, edges and loops stay as they are.
func (g *Graph) begun() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.started
}

// stopped says whether Stop was called.
func (g *Graph) stopped() bool {
	select {
	case <-g.stop:
		return true
	default:
		return false
	}
}

// fail ends the run with err unless it has ended already. It must come before the failing stage closes its edges:
// otherwise what follows takes a failed stream for a complete one.
func (g *Graph) fail(stage string, err error) {
	if errors.Is(err, errDone) {
		return
	}
	g.cancel(&StageError{Stage: stage, Err: err})
}

// errDone ends a stage's goroutine without an error of its own: the run is over for another reason.
var errDone = errors.New("run is over")

// spawn runs one goroutine of a stage.
func (g *Graph) spawn(n *node, ctx context.Context, f func(ctx context.Context) error) {
	g.wg.Go(func() {
		attempt(ctx, f, func(err error) {
			if err != nil {
				g.fail(n.name, err)
			}
			if int(n.ended.Add(1)) == len(n.loops) {
				n.ledger.rest(g.now(), done)
				n.ends()
			}
		})
	})
}

// errExited is a stage's error when its function ends the goroutine rather than return.
var errExited = errors.New("ended its goroutine, as runtime.Goexit and a test's FailNow do: return an error instead")

// attempt is guard that tells the error in any case.
func attempt(ctx context.Context, f func(ctx context.Context) error, tell func(error)) {
	err := errExited
	defer func() { tell(err) }()
	err = guard(ctx, f)
}

// guard turns a panic into an error.
func guard(ctx context.Context, f func(ctx context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	return f(ctx)
}

// StageError is an error with the name of the stage it came from.
type StageError struct {
	Stage string
	Err   error
}

func (e *StageError) Error() string { return fmt.Sprintf("stage %q: %v", e.Stage, e.Err) }

// Unwrap gives the stage's own error.
func (e *StageError) Unwrap() error { return e.Err }

// PanicError is a panic in a stage's function. Error is one line; Stack is for logs.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	line, _, _ := strings.Cut(fmt.Sprint(e.Value), "\n")
	return "panic: " + line
}

// Unwrap gives the panic's value when it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// site is the file and line of the caller outside this package that is depth frames up.
func site(depth int) string {
	_, file, line, ok := runtime.Caller(depth + 1)
	if !ok {
		return "unknown line"
	}
	for i := len(file) - 1; i > 0; i-- {
		if file[i] == '/' {
			file = file[i+1:]
			break
		}
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// mistake records a building error at the user's line; Check and Run report it.
func (g *Graph) mistake(at, format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mistakes = append(g.mistakes, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
}
