//go:build unix

package flows_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/checkpoint/faultfs"
)

// TestSoak trains once without interruption, and once killed again and again with kill -9, every third time inside a save, each
// followed by --resume auto. Parameters, bank, optimiser, meters and the series of losses must be the same bytes.
//
// SOAK=30 kills so often over 200 steps, for every method (make soak); SOAK_SEED chooses the moments.
func TestSoak(t *testing.T) {
	if os.Getenv("SOAK_RUN") != "" {
		soakChild()
	}
	t.Parallel()
	kills, steps, methods, seed := 5, 40, []string{"cmc"}, uint64(1)
	if text := os.Getenv("SOAK"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		kills, steps, methods, seed = n, 200, []string{"cmc", "moco", "insdis"}, uint64(time.Now().UnixNano())
		if text := os.Getenv("SOAK_SEED"); text != "" {
			if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	data := images(t)
	for _, method := range methods {
		t.Run(method, func(t *testing.T) {
			t.Logf("SOAK_SEED=%d", seed)
			straight := small(t, method, data)
			straight.Optim.Epochs, straight.Run.MaxSteps, straight.Run.SaveSteps, straight.Run.Keep = 100, steps, 3, 3
			straight.Mix.On = method == "cmc"
			killed := straight
			killed.Run.ModelPath, killed.Run.Resume = t.TempDir(), "auto"
			want := run(t, straight)
			dir := filepath.Join(killed.Run.ModelPath, flows.RunName(killed))
			soak(t, killed, dir, kills, rand.New(rand.NewPCG(seed, 0)))
			text, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			got := regexp.MustCompile(`"images_per_s":[^,}]*`).ReplaceAllString(string(text), "")
			if got != want {
				t.Errorf("the series of losses differ: %x, want %x", sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want)))
			}
			a, b := last(t, filepath.Join(straight.Run.ModelPath, flows.RunName(straight))), last(t, dir)
			if d := flows.Diff(a, b); len(d) > 0 || a.Step != steps {
				t.Errorf("step %d: %v", a.Step, d)
			}
			if x, y := string(a.Meta["meters"]), string(b.Meta["meters"]); x != y {
				t.Errorf("meters %s, want %s", y, x)
			}
		})
	}
}

func last(t *testing.T, dir string) *checkpoint.State {
	t.Helper()
	s, err := flows.ReadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// faults are what happens inside a save: an operation that the process does not survive, or an error of the disk whose
// clearing-up it does not survive.
var faults = []string{"write kill", "sync kill", "rename kill", "write ENOSPC", "write short", "create kill", "syncdir kill", "sync ENOSPC", "remove kill", "rename ENOSPC"}

// soak kills a run so many times and then lets it end. Every kill must leave a checkpoint that is whole and no older than the
// one before it.
func soak(t *testing.T, o flows.Options, dir string, kills int, dice *rand.Rand) {
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	saved, inSaves := 0, 0
	for k := range kills + 1 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSoak$")
		cmd.Env = append(os.Environ(), "SOAK_RUN="+string(text))
		after := dice.IntN(2*o.Run.MaxSteps/kills + 2) // about as far as the kills should be apart
		what := fmt.Sprintf("kill %d after %d steps", k+1, after)
		inside := k%3 == 0 && k < kills
		if inside {
			fault := faults[inSaves%len(faults)]
			n := 1 + dice.IntN(9) // of the first saves
			if strings.HasPrefix(fault, "write") {
				n = 1 + dice.IntN(1000) // a save writes about 400 tensors
			}
			fault = fmt.Sprintf("%s %d", fault, n)
			what = fmt.Sprintf("kill %d by %s", k+1, fault)
			cmd.Env = append(cmd.Env, "SOAK_FAULT="+fault)
			inSaves++
		}
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		steps := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if !strings.HasPrefix(lines.Text(), "step ") {
				t.Log(lines.Text())
			}
			steps++
			if k == kills-1 && !inside && saved == 0 { // at least one part goes on from a checkpoint
				if _, err := checkpoint.Latest(checkpoint.Disk{}, dir); err != nil {
					after = steps
				}
			}
			if steps == after+1 && !inside && k < kills {
				time.AfterFunc(time.Duration(dice.IntN(120))*time.Millisecond, func() { cmd.Process.Kill() })
			}
		}
		err = cmd.Wait()
		if k == kills {
			if err != nil {
				t.Fatalf("the last part: %v", err)
			}
			break
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%s: the process ended with %v, want a kill", what, err)
		}
		path, err := checkpoint.Latest(checkpoint.Disk{}, dir)
		if errors.Is(err, checkpoint.ErrNone) && saved == 0 {
			t.Logf("%s: before the first checkpoint", what)
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		s, err := checkpoint.Load(checkpoint.Disk{}, path)
		if err != nil || s.Step < saved {
			t.Fatalf("%s: checkpoint of step %d after one of %d: %v", what, s.Step, saved, err)
		}
		t.Logf("%s: goes on at step %d of %d", what, s.Step, o.Run.MaxSteps)
		saved = s.Step
	}
	if saved == 0 {
		t.Error("no part went on from a checkpoint")
	}
	t.Logf("%d kills, %d of them inside a save", kills, inSaves)
}

// soakChild is one part of the run.
func soakChild() {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var o flows.Options
	if err := json.Unmarshal([]byte(os.Getenv("SOAK_RUN")), &o); err != nil {
		fail(err)
	}
	r, err := flows.Prepare(o)
	if err != nil {
		fail(err)
	}
	m, err := flows.NewMetrics(r.Dir, r.Start())
	if err != nil {
		fail(err)
	}
	if text := os.Getenv("SOAK_FAULT"); text != "" {
		r.FS = &faultfs.FS{Under: checkpoint.Disk{}, Before: deadly(strings.Fields(text))}
	}
	r.BeforeSave = m.Sync
	r.Observe = func(rep *flows.StepReport) {
		m.Write(rep)
		fmt.Println("step", rep.Plan.Step)
	}
	if err := r.Train(context.Background()); err != nil {
		if os.Getenv("SOAK_FAULT") != "" && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, faultfs.ErrShort)) {
			die() // the fault was the last operation of its save: nothing came after it to die in
		}
		fail(err)
	}
	if err := errors.Join(m.Close(), r.Close()); err != nil {
		fail(err)
	}
	os.Exit(0)
}

// die ends the process as kill -9 does.
func die() error {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {}
}

// deadly makes the n-th operation of a kind the last, or fail so that the one after it is.
func deadly(fault []string) func(faultfs.Op) error {
	kind, what := fault[0], fault[1]
	n, err := strconv.Atoi(fault[2])
	if err != nil {
		panic(err)
	}
	failed := false
	return func(op faultfs.Op) error {
		if failed {
			return die()
		}
		if op.Kind != kind {
			return nil
		}
		if n--; n > 0 {
			return nil
		}
		switch failed = true; what {
		case "ENOSPC":
			return syscall.ENOSPC
		case "short":
			return faultfs.ErrShort
		}
		return die()
	}
}
