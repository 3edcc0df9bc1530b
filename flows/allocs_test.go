package flows

import (
	"fmt"
	"math"
	"runtime"
	"testing"
)

// A steady step allocates nothing: forward, loss and bank, backward, SGD, and whatever else the flow updates. AllocsPerRun holds
// the process to one core; fewest sees what the helpers of the loss cost on two.
func TestAllocs(t *testing.T) {
	for _, c := range []struct {
		flow, model string
		softmax     bool
		amp         bool
	}{
		{flow: "cmc", model: "alexnet"}, {flow: "cmc", model: "resnet18v1", softmax: true},
		{flow: "moco", model: "resnet18"}, {flow: "moco", model: "resnet18", softmax: true},
		{flow: "insdis", model: "resnet18"}, {flow: "insdis", model: "resnet50", amp: true},
	} {
		for _, threads := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s %s softmax=%v amp=%v threads=%d", c.flow, c.model, c.softmax, c.amp, threads), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
				s := StepBench{Flow: c.flow, Model: c.model, Softmax: c.softmax, AMP: c.amp, Device: "cpu", Threads: threads, Batch: 4, ImageSize: 32, K: 40, N: 100, Steps: 1}
				o, err := s.options()
				if err != nil {
					t.Fatal(err)
				}
				device, err := openDevice(o)
				if err != nil {
					t.Fatal(err)
				}
				defer device.Close()
				b, err := newStepper(s, o, device)
				if err != nil {
					t.Fatal(err)
				}
				step := func() {
					if err := b.once(false); err != nil {
						t.Fatal(err)
					}
				}
				step() // buffers grow to their size
				step()
				if n := testing.AllocsPerRun(4, step); n != 0 {
					t.Errorf("%v allocations a step on one core", n)
				}
				if n := fewest(40, step); n != 0 {
					t.Errorf("%d allocations a step on %d cores", n, threads)
				}
			})
		}
	}
}

// fewest is how much f allocates on as many cores as there are, the fewest of several calls, until one allocates nothing: goroutines
// that start and wait make the scheduler itself allocate now and then, on a busy machine in most calls.
func fewest(calls int, f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range calls {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		if least = min(least, after.Mallocs-before.Mallocs); least == 0 {
			break
		}
	}
	return least
}
