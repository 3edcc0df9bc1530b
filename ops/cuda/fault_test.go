//go:build cuda

package cuda_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebitengine/purego"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda"
)

// onFake runs the test that calls it in a process of its own, with a fake driver that is set up by env, A=1 or A=1 B=2, and is true
// there: after a fault a process cannot use its device any more.
func onFake(t *testing.T, env string) bool {
	t.Helper()
	if os.Getenv("FAKECUDA_SHIM") == "" {
		t.Skip("needs the fake driver: make test-cuda-fake")
	}
	if own := os.Getenv("ON_FAKE"); own != "" {
		return own == env
	}
	c := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "5m") // kernels may have to be compiled, on a machine that is busy
	c.Env = append(os.Environ(), append(strings.Fields(env), "ON_FAKE="+env)...)
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%s: %v\n%s", env, err, out)
	}
	return false
}

// A kernel that faults behind the host's back, late or while its pass is still being put on the stream, ends what comes next with an
// error, once explained; nobody waits for ever, and Close tells of it too, once.
func TestFaultOnFake(t *testing.T) {
	for _, env := range []string{"FAKECUDA_FAIL=relu FAKECUDA_ORDER=", "FAKECUDA_FAIL=relu FAKECUDA_ORDER=3"} {
		if onFake(t, env) {
			faults(t)
		}
	}
}

func faults(t *testing.T) {
	d, err := cuda.Open(cuda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g := ops.NewGraph(ops.Shape{C: 8, H: 4, W: 4})
	g.L2Norm(g.Flatten(g.AdaptiveAvgPool(g.ReLU(g.Conv(g.Input(), "a", ops.ConvOptions{Out: 16, Kernel: 3, Pad: 1})), 1)))
	p, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	pr, err := d.Compile(g, p, ops.Options{Batch: 2, Train: true, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	bank, err := d.(ops.Banker).NewBank(100, 16)
	if err != nil {
		t.Fatal(err)
	}
	var fault *cuda.Fault
	queries := make([]float32, 32)
	tape, err := pr.Forward(noise(2*128, 1, 1), 2)
	if err == nil {
		queries = tape.Output(0)
	} else if !errors.As(err, &fault) {
		t.Errorf("the forward: %v", err)
	}
	s := ops.Scoring{Queries: queries, K: 4, IDs: []int32{0, 1}, Mode: ops.ScoreSoftmax, T: 1, Factor: 1}
	_, err = bank.Score(s, make([]float32, 32))()
	if !errors.As(err, &fault) || strings.Count(err.Error(), "dmesg") != 1 {
		t.Errorf("the score: %v", err)
	}
	if tape != nil {
		if _, err := tape.Backward(make([]float32, 32)); !errors.As(err, &fault) {
			t.Errorf("the backward: %v", err)
		}
	}
	if err := d.Close(); !errors.As(err, &fault) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Close: %v", err)
	}
}

// What does not fit leaves programs that are there as they were, also the buffers that they share with it.
func TestFullOnFake(t *testing.T) {
	if !onFake(t, "FAKECUDA_MEMORY=90000000") {
		return
	}
	d := open(t, cuda.Options{})
	g := ops.NewGraph(ops.Shape{C: 64, H: 2, W: 2})
	g.ReLU(g.BatchNorm(g.Conv(g.Input(), "a", ops.ConvOptions{Out: 64, Kernel: 1}), "bn"))
	p, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	if err := encoders.Init(p, 1, false); err != nil {
		t.Fatal(err)
	}
	pr, err := d.Compile(g, p, ops.Options{Batch: 4, Train: true, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	run := func() []float32 {
		tape, err := pr.Forward(noise(4*256, 1, 3), 4)
		if err != nil {
			t.Fatal(err)
		}
		defer tape.Release()
		return slices.Clone(tape.Output(0))
	}
	want := run()
	var banks []ops.Bank
	for n := 4000; n > 2000; { // fill the memory
		b, err := d.(ops.Banker).NewBank(n, 128)
		if err != nil {
			n /= 2
			continue
		}
		banks = append(banks, b)
	}
	var full *cuda.OutOfMemory
	if _, err := d.Compile(g, p, ops.Options{Batch: 4096, BNGroups: 4096, Train: true, Direct: true}); !errors.As(err, &full) {
		t.Errorf("a second program: %v", err)
	}
	if got := run(); !slices.Equal(got, want) {
		t.Error("the first program gives other values")
	}
	runtime.KeepAlive(banks)
}

// A bank whose rows could not be brought to the device says so when it is asked to score.
func TestFullBankOnFake(t *testing.T) {
	if !onFake(t, "FAKECUDA_MEMORY=60000000") {
		return
	}
	d, err := cuda.Open(cuda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const n, w = 60000, 128 // 30 MB, which are uploaded through as much again
	bank, err := d.(ops.Banker).NewBank(n, w)
	if err != nil {
		t.Fatal(err)
	}
	if err := bank.Put(0, make([]float32, n*w)); err != nil {
		t.Fatal(err)
	}
	s := ops.Scoring{Queries: unit(noise(3*w, 1, 1), w), K: 4, IDs: []int32{0, 1, 2}, Mode: ops.ScoreSoftmax, T: 1, Factor: 1}
	var full *cuda.OutOfMemory
	if _, err := bank.Score(s, make([]float32, 3*w))(); !errors.As(err, &full) {
		t.Errorf("the score: %v", err)
	}
	if err := d.Close(); !errors.As(err, &full) {
		t.Errorf("Close: %v", err)
	}
}

// A bank for which an event is missing leaves nothing behind, no pinned memory either.
func TestNoEventOnFake(t *testing.T) {
	if !onFake(t, "FAKECUDA_EVENTS=3") {
		return
	}
	d, err := cuda.Open(cuda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.(ops.Banker).NewBank(4, 8); err == nil {
		t.Error("a bank of three events was made")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if n := pinned(t); n != 0 {
		t.Errorf("%d bytes of pinned memory are left", n)
	}
}

// pinned is how many bytes of pinned memory the fake driver holds.
func pinned(t *testing.T) uintptr {
	t.Helper()
	lib, err := purego.Dlopen(os.Getenv("CUDA_DRIVER_LIB"), purego.RTLD_NOW)
	if err != nil {
		t.Fatal(err)
	}
	f, err := purego.Dlsym(lib, "fake_pinned")
	if err != nil {
		t.Fatal(err)
	}
	n, _, _ := purego.SyscallN(f)
	return n
}

// noEngines is a cache that knows compiled kernels, which take long, and no engine.
func noEngines(t *testing.T) string {
	t.Helper()
	open(t, cuda.Options{}) // they are compiled
	dir := t.TempDir()
	kernels, err := filepath.Glob(filepath.Join(os.Getenv("CONTRAFLOW_CACHE"), "kernels-*"))
	if err != nil || len(kernels) == 0 {
		t.Fatalf("no kernels in CONTRAFLOW_CACHE: %v", err)
	}
	for _, k := range kernels {
		if err := os.Symlink(k, filepath.Join(dir, filepath.Base(k))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Engines that refuse when they are run are left out, and where none adds to a gradient that is there it is computed apart, also in what
// is recorded, during which nothing can be tried.
func TestEnginesOnFake(t *testing.T) {
	for _, env := range []string{"MOCKCUDNN_MORE=1", "MOCKCUDNN_NOBETA=1", "MOCKCUDNN_NOBETA=2 MOCKCUDNN_MORE=1"} {
		if onFake(t, env) {
			smallSteps(t, open(t, cuda.Options{Cache: noEngines(t), Graphs: true}), false)
		}
	}
}

// A recorder that begins its clock anew, which keeps float32's times exact, tells the same times.
func TestSpansGoOn(t *testing.T) {
	defer cuda.RenewAfter(0)()
	d := open(t, cuda.Options{}).(*cuda.Device)
	d.Spans(true)
	defer d.Spans(false)
	var first cuda.Span
	var early, late time.Time // between which the first copy began
	for i := range 5 {
		time.Sleep(20 * time.Millisecond)
		before := time.Now()
		if err := d.Copy(1 << 10); err != nil {
			t.Fatal(err)
		}
		s := d.TakeSpans()
		if len(s) != 1 {
			t.Fatalf("copy %d: spans %+v", i, s)
		}
		after := time.Now()
		if i == 0 {
			first, early, late = s[0], before, after
			continue
		}
		const clocks = 0.1 // milliseconds by which the device's may go apart from ours
		at, least, most := s[0].Start-first.Start, before.Sub(late).Seconds()*1e3-clocks, after.Sub(early).Seconds()*1e3+clocks
		if at < least || at > most {
			t.Errorf("copy %d: %.3f ms after the first, not %.3f to %.3f", i, at, least, most)
		}
	}
}
