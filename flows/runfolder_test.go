package flows_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/io/synth"
)

// contents are the names, sizes and times of what lies under a folder, but for locks.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil || e.Name() == "lock" { // it names the last process that had the folder
			return err
		}
		fmt.Fprintln(&out, path, info.Size(), info.ModTime().UnixNano())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A checkpoint of one run starts another: what has that run's name moves away whole, and what does not fit, or is at its end
// already, touches nothing.
func TestResumeFromElsewhere(t *testing.T) {
	t.Parallel()
	data, runs := images(t), t.TempDir()
	options := func(name, resume string, steps int) flows.Options {
		o := small(t, "cmc", data)
		o.Run.ModelPath, o.Run.Name, o.Run.Resume, o.Run.MaxSteps = runs, name, resume, steps
		return o
	}
	run(t, options("a", "", 1))
	run(t, options("b", "", 1))
	a, b := filepath.Join(runs, "a"), filepath.Join(runs, "b")
	before := contents(t, runs)
	for _, name := range []string{"b", "new"} {
		o := options(name, a, 2)
		o.Loss.K = 4
		if _, err := flows.Prepare(o); err == nil || !strings.Contains(err.Error(), "--nce_k was 16, is 4") {
			t.Errorf("%s: other negatives: %v", name, err)
		}
		r, err := flows.Prepare(options(name, a, 1))
		if err != nil || !r.Done() || r.Dir != a {
			t.Fatalf("%s: a run at its end: %v", name, err)
		}
		r.Close()
	}
	s, err := flows.ReadState(a)
	if err != nil {
		t.Fatal(err)
	}
	whole := s.Tensors
	for _, c := range []struct{ lost, want string }{
		{"contrast/", "no contrast/params: weights alone can be judged"},
		{"velocity/encoder.module.ab_to_l.layer1.0.conv2.weight", "has velocities, but no velocity/encoder.module.ab_to_l.layer1.0.conv2.weight: "},
		{"velocity/encoder.module.l_to_ab.", "has velocities, but no velocity/encoder.module.l_to_ab.conv1.weight: "},
		{"velocity/", ""}, // those begin at zero
	} {
		s.Tensors = slices.DeleteFunc(slices.Clone(whole), func(t raw.Tensor) bool { return strings.HasPrefix(t.Name, c.lost) })
		file := filepath.Join(t.TempDir(), "less.safetensors")
		if err := flows.WriteState(file, s, false); err != nil {
			t.Fatal(err)
		}
		o := options("new", file, 2)
		if c.want == "" {
			o.Run.ModelPath = t.TempDir()
		}
		r, err := flows.Prepare(o)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("without %s: %v, want %q", c.lost, err, c.want)
		}
		if err == nil {
			r.Close()
		}
	}
	if after := contents(t, runs); after != before {
		t.Errorf("runs were\n%sare\n%s", before, after)
	}
	was, err := os.ReadFile(filepath.Join(b, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	moved := ""
	runWith(t, options("b", a, 2), func(r *flows.Run) { moved = r.Moved })
	if is, err := os.ReadFile(filepath.Join(b+".1", "metrics.jsonl")); err != nil || string(is) != string(was) || moved != b+".1" {
		t.Errorf("the earlier run is in %q: %v", moved, err)
	}
	// Its own checkpoint, by another way to it, goes on in place.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(b, link); err != nil {
		t.Fatal(err)
	}
	runWith(t, options("b", filepath.Join(link, "step-000000002"), 3), func(r *flows.Run) {
		if r.Moved != "" || r.Start() != 2 {
			t.Errorf("a run that goes on was moved to %q, and starts at %d", r.Moved, r.Start())
		}
	})
}

// A finished run or probe that is told to go on writes nothing.
func TestFinishedAgain(t *testing.T) {
	t.Parallel()
	data := images(t)
	o := small(t, "cmc", data)
	o.Run.MaxSteps, o.Run.Resume, o.Run.Name = 1, "auto", "run"
	run(t, o)
	p := smallProbe(t, data, filepath.Join(o.Run.ModelPath, "run"))
	p.Resume = "auto"
	first := probe(t, p)
	before := contents(t, o.Run.ModelPath) + contents(t, p.SavePath)
	r, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Train(context.Background()); err != nil || !r.Done() {
		t.Errorf("the run: done %v, %v", r.Done(), err)
	}
	p.SavePath, p.Name, p.Resume = t.TempDir(), "other", first.Dir // from elsewhere it takes no folder, and names none
	elsewhere := probe(t, p)
	p.SavePath, p.Name, p.Resume = filepath.Dir(first.Dir), "", "auto"
	for name, again := range map[string]*flows.ProbeResult{"in place": probe(t, p), "from elsewhere": elsewhere} {
		if again.Top1 != first.Top1 || again.Epochs != first.Epochs || again.Best != first.Best || again.Dir != first.Dir {
			t.Errorf("the probe %s: %+v, want %+v", name, again, first)
		}
	}
	if after := contents(t, o.Run.ModelPath) + contents(t, p.SavePath); after != before {
		t.Errorf("the folders were\n%sare\n%s", before, after)
	}
}

// A run at its end owes the report that is missing, or is of an earlier end of it.
func TestOwesReport(t *testing.T) {
	o := small(t, "cmc", images(t))
	o.Run.MaxSteps, o.Run.Name, o.Run.TBPath = 1, "run", ""
	runWith(t, o, func(r *flows.Run) {
		m, err := flows.NewMetrics(r.Dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		r.Observe = m.Write
		t.Cleanup(func() { m.Close() })
	})
	dir := filepath.Join(o.Run.ModelPath, "run")
	o.Run.Resume, o.Run.Report = "auto", true
	owes := func(want bool) {
		t.Helper()
		r, err := flows.Prepare(o)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if score, page, err := r.Owes(); err != nil || score || page != want {
			t.Errorf("it owes a score %v, a report %v, %v", score, page, err)
		}
	}
	owes(true)
	page, err := flows.WriteReport(context.Background(), dir, flows.ReportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owes(false)
	before := time.Now().Add(-time.Hour)
	if err := os.Chtimes(page, before, before); err != nil {
		t.Fatal(err)
	}
	owes(true)
}

// Whatever a run is refused for, the earlier one of its name stays where it is.
func TestRefusedRunsMoveNothing(t *testing.T) {
	t.Parallel()
	data := images(t)
	o := small(t, "cmc", data)
	o.Run.MaxSteps, o.Run.Name, o.Run.TBPath = 1, "run", ""
	run(t, o)
	p := smallProbe(t, data, filepath.Join(o.Run.ModelPath, "run"))
	p.Name = "probe"
	probe(t, p)
	before := contents(t, o.Run.ModelPath) + contents(t, p.SavePath)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p.TBPath = file
	if _, err := flows.PrepareProbe(context.Background(), p); err == nil || !strings.Contains(err.Error(), "--tb_path: "+file+" is a file") {
		t.Errorf("events of a probe in a file: %v", err)
	}
	o.Run.KNNEvery, o.Run.TBPath = 1, file
	if _, err := flows.Prepare(o); err == nil || !strings.Contains(err.Error(), "--tb_path: "+file+" is a file") {
		t.Errorf("events in a file: %v", err)
	}
	o.Run.TBPath = ""
	for _, left := range []string{synth.ClassName(0), ""} { // then one class, then none
		for _, class := range []string{synth.ClassName(0), synth.ClassName(1), synth.ClassName(2)} {
			if class != left {
				if err := os.RemoveAll(filepath.Join(data, "val", class)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := flows.Prepare(o); err == nil || !strings.Contains(err.Error(), "--knn_every: ") {
			t.Errorf("judged by the classes %q: %v", left, err)
		}
	}
	if after := contents(t, o.Run.ModelPath) + contents(t, p.SavePath); after != before {
		t.Errorf("the folders were\n%sare\n%s", before, after)
	}
}

// A run that does not go on moves an earlier one of its name aside also when it is started in that one's folder.
func TestNewRunInAnEarlierFolder(t *testing.T) {
	data := images(t)
	o := small(t, "cmc", data)
	o.Run.MaxSteps, o.Run.Name, o.Run.TBPath = 1, "run", ""
	run(t, o)
	dir := filepath.Join(o.Run.ModelPath, "run")
	p := smallProbe(t, data, dir)
	p.Name = "probe"
	probe(t, p)
	t.Chdir(dir)
	runWith(t, o, func(r *flows.Run) {
		if r.Moved != dir+".1" {
			t.Errorf("the earlier run is in %q", r.Moved)
		}
	})
	t.Chdir(filepath.Join(p.SavePath, "probe"))
	p.ModelPath = dir
	r, err := flows.PrepareProbe(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Moved != filepath.Join(p.SavePath, "probe.1") {
		t.Errorf("the earlier probe is in %q", r.Moved)
	}
}
