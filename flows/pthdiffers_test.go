package flows_test

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/torch"
)

// asOriginal copies a .pth of ours without what only we put there.
func asOriginal(t *testing.T, path string) string {
	t.Helper()
	f, err := torch.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := f.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	c.Extra = nil
	var b bytes.Buffer
	if err := torch.Write(&b, c.Value(), torch.WriteOptions{Name: "original"}); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "original.pth")
	if err := os.WriteFile(out, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return out
}

// A .pth of the original goes on whatever the flags say, and one line says what differs.
func TestResumeTellsDifferences(t *testing.T) {
	t.Parallel()
	o := small(t, "cmc", images(t))
	o.Optim.Epochs = 1
	run(t, o)
	pth := filepath.Join(t.TempDir(), "ours.pth")
	if err := flows.Convert(filepath.Join(o.Run.ModelPath, flows.RunName(o)), pth, false); err != nil {
		t.Fatal(err)
	}
	o.Run.Resume, o.Optim.Epochs = asOriginal(t, pth), 2
	for lr, want := range map[float64]string{
		0.03: "",
		0.1:  "--resume " + o.Run.Resume + " goes on with options that are not the file's: --learning_rate was 0.03, is 0.1; its optimiser's rate was 0.03, the schedule has 0.1",
	} {
		o.Run.ModelPath, o.Optim.LR = t.TempDir(), lr
		r, err := flows.Prepare(o)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(r.Warnings, "\n"); got != want {
			t.Errorf("rate %v: %q, want %q", lr, got, want)
		}
		if r.Start() != 4 {
			t.Errorf("goes on at step %d, want 4", r.Start())
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A probe goes on from a .pth of the original with its optimiser's state, to the same bits as one never stopped; what the file does not
// say is left out, and what differs is told.
func TestProbeResumesOriginal(t *testing.T) {
	t.Parallel()
	data, dir := encoderRun(t, "cmc")
	for _, adam := range []bool{false, true} {
		straight := smallProbe(t, data, dir)
		straight.Augment, straight.Adam = false, adam
		want := probe(t, straight)
		o := straight
		o.SavePath, o.Epochs = t.TempDir(), 1
		first := probe(t, o)
		o.SavePath, o.Resume = t.TempDir(), asOriginal(t, filepath.Join(first.Dir, "last.pth"))
		if got := probe(t, o); math.Abs(got.Top1-first.Top1) > 1e-6 || got.Top5 != nil || first.Top5 == nil {
			t.Errorf("adam %v: nothing left to do: %+v, want top-1 %v and no top-5", adam, got, first.Top1)
		}
		o.SavePath, o.Epochs = t.TempDir(), 2
		if got := probe(t, o); !bytes.Equal(lastTensors(t, want.Dir), lastTensors(t, got.Dir)) {
			t.Errorf("adam %v: other parameters", adam)
		}
		for rate, line := range map[float64]string{o.LR: "", 0.5: "--learning_rate was 0.01, is 0.5; its optimiser's rate was 0.01, the schedule has 0.5"} {
			other := o
			other.SavePath, other.LR = t.TempDir(), rate
			r, err := flows.PrepareProbe(context.Background(), other)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(r.Warnings, "\n"); !strings.HasSuffix(got, line) || (got == "") != (line == "") {
				t.Errorf("rate %v: %q, want %q", rate, got, line)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
