//go:build cuda

package flows_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/contraflow/contraflow/ops/cpu"
)

// curve is the loss of every step of a small run on a device; of the processor with kernels of a kind, unless isa is empty.
func curve(t *testing.T, method, data, device, isa string, direct bool, steps int) []float64 {
	t.Helper()
	if isa != "" {
		t.Setenv("CONTRAFLOW_ISA", isa)
	}
	o := small(t, method, data)
	o.Net.Device, o.Net.Direct, o.Optim.LR, o.Run.MaxSteps, o.Optim.Epochs = device, direct, 0.001, steps, steps
	return losses(t, run(t, o))
}

func mean(v []float64) (m float64) {
	for _, x := range v {
		m += x / float64(len(v))
	}
	return m
}

// beyond is by how much a curve leaves the band of others, at its worst: one is the edge. The band goes from the least of them to
// the largest, wider on both sides by the largest width so far and a little more: 1e-4 of the loss for the first two steps,
// where rounding has not grown yet and which see one update, and 1e-3 for the means of windows after that.
func beyond(got []float64, others [][]float64, window int) (worst float64, told string) {
	check := func(from, to int, width *float64, more float64) {
		low, high := math.Inf(1), math.Inf(-1)
		for _, o := range others {
			m := mean(o[from:to])
			low, high = min(low, m), max(high, m)
		}
		*width = max(*width, high-low)
		m := mean(got[from:to])
		if r := max(low-m, m-high, 0) / (*width + more*high); !(r <= worst) || told == "" {
			worst, told = r, fmt.Sprintf("(worst: steps %d to %d have %.5f, the processor's runs %.5f to %.5f)", from, to-1, m, low, high)
		}
	}
	var early, late float64
	check(0, 1, &early, 1e-4)
	check(1, 2, &early, 1e-4)
	for at := 0; at+window <= len(got); at += window {
		check(at, at+window, &late, 1e-3)
	}
	return worst, told
}

// 200 steps of CMC and MoCo have the processor's loss curve within its noise. Training a deep network on few small images is
// chaotic: after three steps, runs differ by percents that add in another order. So the noise is measured: the processor runs
// with kernels of two kinds, each with Winograd's convolutions and without.
func TestCUDACurves(t *testing.T) {
	onCUDA(t)
	data := images(t)
	steps, window := 200, 20
	if testing.Short() {
		steps = 2 // what rounding has not taken apart yet
	}
	var kinds []string
	for _, isa := range []string{"avx512", "avx2", "generic"} {
		t.Setenv("CONTRAFLOW_ISA", isa)
		if d, err := cpu.New(1); err == nil {
			kinds = append(kinds, isa)
			d.Close()
		}
	}
	if len(kinds) < 2 {
		t.Fatalf("this machine has kernels of one kind alone: %v", kinds)
	}
	for _, method := range []string{"cmc", "moco"} {
		t.Run(method, func(t *testing.T) {
			var processor [][]float64
			for _, isa := range kinds[:2] {
				processor = append(processor, curve(t, method, data, "cpu", isa, true, steps), curve(t, method, data, "cpu", isa, false, steps))
			}
			for i, c := range processor { // what the rule makes of the processor's own runs
				rest := slices.Delete(slices.Clone(processor), i, i+1)
				self, told := beyond(c, rest, window)
				t.Logf("the processor's run %d among the others: %.2f %s", i, self, told)
			}
			worst, told := beyond(curve(t, method, data, "cuda", "", true, steps), processor, window)
			t.Logf("%s: %s", method, told)
			if !(worst <= 1) {
				t.Errorf("the curve on cuda leaves the processor's noise: %.2f %s", worst, told)
			}
		})
	}
}
