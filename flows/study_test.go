package flows_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/synth"
)

func studyOptions(t *testing.T, data string) flows.StudyOptions {
	return flows.StudyOptions{Out: t.TempDir(), Data: data, Seeds: []int{1}, Layer: 6, Epochs: 1, Threads: 1, ViewDirs: "depth", Say: func(string, ...any) {}}
}

// A study trains every variant once, judges every view that it has, and says of each claim what the cells say.
func TestStudies(t *testing.T) {
	t.Parallel()
	o := studyOptions(t, scenes(t))
	for name, want := range map[string]struct {
		columns string
		rows    []string
		claims  int
	}{
		"objectives": {"L ab L+ab", []string{"untrained", "untrained, statistics settled", "contrastive", "predictive L1", "predictive L2", "supervised"}, 5},
		"views":      {"L ab depth", []string{"untrained", "2: L, ab", "2: L, depth", "3: L, ab, depth"}, 3},
		"losses":     {"L ab L+ab", []string{"softmax", "NCE"}, 3},
		"mixture":    {"L ab L+ab", []string{"softmax", "softmax + IM"}, 3},
	} {
		o.ViewDirs = map[string]string{"views": "depth"}[name]
		res, err := flows.RunStudy(context.Background(), name, o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var rows []string
		for _, r := range res.Rows {
			rows = append(rows, r.Variant)
			for c, v := range r.Top1 {
				if len(v) != 1 || v[0] < 0 || v[0] > 1 {
					t.Errorf("%s: %s %s is %v", name, r.Variant, c, v)
				}
			}
		}
		if got := strings.Join(res.Columns, " "); got != want.columns || strings.Join(rows, ";") != strings.Join(want.rows, ";") || len(res.Claims) != want.claims {
			t.Errorf("%s: columns %q, rows %q, %d claims", name, got, rows, len(res.Claims))
		}
		for _, c := range res.Claims {
			margin := 0.0
			if strings.Contains(c.Claim, "within 0.15") {
				margin = 0.15
			}
			if len(c.Differences) != 1 || c.Holds != (c.Differences[0] >= -margin) || c.Seeds != map[bool]int{true: 1}[c.Holds] {
				t.Errorf("%s: %+v", name, c)
			}
		}
		if res.Recipe.Train != 27 || res.Recipe.Val != 12 {
			t.Errorf("%s: %+v", name, res.Recipe)
		}
		for _, file := range []string{name + ".md", name + ".json"} {
			if _, err := os.Stat(filepath.Join(o.Out, file)); err != nil {
				t.Error(err)
			}
		}
	}
	plot, err := os.Open(filepath.Join(o.Out, "views.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer plot.Close()
	for d := xml.NewDecoder(plot); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("views.svg: %v", err)
		}
	}
	o.ViewDirs = ""
	// A second call finds everything done; a changed recipe in the same folder is refused, not mixed.
	checkpoint := filepath.Join(o.Out, "runs", "cmc-L-ab-seed1", "step-000000001")
	before, err := os.Stat(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	result, err := os.Stat(filepath.Join(o.Out, "losses.json"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := flows.RunStudy(context.Background(), "losses", o); err != nil {
		t.Fatal(err)
	}
	if again, err := os.Stat(filepath.Join(o.Out, "losses.json")); err != nil || os.SameFile(again, result) {
		t.Errorf("the earlier result was written over, not replaced: %v", err)
	}
	if after, err := os.Stat(checkpoint); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("a finished run was trained again: %v", err)
	}
	o.Epochs = 2
	if _, err := flows.RunStudy(context.Background(), "losses", o); err == nil || !strings.Contains(err.Error(), "--epochs was 1, is 2: give the old values, or choose another --out") || strings.Contains(err.Error(), "force") {
		t.Errorf("other epochs in the same folder: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(o.Out, "probes", "*")); err != nil || len(left) > 0 {
		t.Errorf("features and heads are left: %v, %v", left, err)
	}
}

// A folder with runs of other data is refused as such.
func TestStudyOfOtherData(t *testing.T) {
	o := studyOptions(t, scenes(t))
	stop := make(chan struct{}) // once the first run is saved
	close(stop)
	o.Stop, o.ViewDirs = stop, ""
	if _, err := flows.RunStudy(context.Background(), "objectives", o); !errors.Is(err, flows.ErrStopped) {
		t.Fatal(err)
	}
	o.Data = images(t) // and told to stop still: that hides no mistake
	other := filepath.Join(o.Data, "train", synth.ClassName(0), "00000.jpg")
	if err := os.Rename(other, filepath.Join(filepath.Dir(other), "x.jpg")); err != nil {
		t.Fatal(err)
	}
	if _, err := flows.RunStudy(context.Background(), "objectives", o); err == nil || !strings.Contains(err.Error(), o.Out+" holds runs of other data: choose another --out") {
		t.Errorf("got %v", err)
	}
}

// A study that is told to stop while it draws its data does so at once.
func TestStudyStopsDrawing(t *testing.T) {
	o := studyOptions(t, "")
	stop := make(chan struct{})
	close(stop)
	o.Stop, o.ViewDirs = stop, ""
	if _, err := flows.RunStudy(context.Background(), "losses", o); !errors.Is(err, flows.ErrStopped) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(o.Out, "data")); err == nil {
		t.Error("it drew to the end")
	}
}

// A signal stops a study after a checkpoint, and the next call goes on.
func TestStudyStops(t *testing.T) {
	t.Parallel()
	o := studyOptions(t, scenes(t))
	stop := make(chan struct{})
	close(stop)
	o.Stop, o.Epochs, o.ViewDirs = stop, 4, ""
	if _, err := flows.RunStudy(context.Background(), "losses", o); !errors.Is(err, flows.ErrStopped) {
		t.Fatalf("got %v", err)
	}
	o.Stop = nil
	if _, err := flows.RunStudy(context.Background(), "losses", o); err != nil {
		t.Fatal(err)
	}
}

func TestStudyMistakes(t *testing.T) {
	data := scenes(t)
	for want, change := range map[string]func(o *flows.StudyOptions){
		`there is no study "colours"`:      nil,
		"--views \"L|q\"":                  func(o *flows.StudyOptions) { o.Views = "L|q" },
		"at least three views, found 2":    func(o *flows.StudyOptions) { o.ViewDirs = "" },
		"--view_dirs heat":                 func(o *flows.StudyOptions) { o.ViewDirs = "heat" },
		"--seeds":                          func(o *flows.StudyOptions) { o.Seeds = nil },
		"--seeds 2,1,2: 2 is there twice":  func(o *flows.StudyOptions) { o.Seeds = []int{2, 1, 2} },
		"a study needs at least two views": func(o *flows.StudyOptions) { o.Views, o.ViewDirs = "L", "" },
	} {
		o, name := studyOptions(t, data), "views"
		if change == nil {
			name = "colours"
		} else {
			change(&o)
		}
		if _, err := flows.RunStudy(context.Background(), name, o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// A layer and a number of epochs that there are not are mistakes before anything is trained.
func TestStudyCheck(t *testing.T) {
	for want, change := range map[string]func(o *flows.StudyOptions){
		"--layer -1: must be 1 or more, or 0 for the model's own default": func(o *flows.StudyOptions) { o.Layer = -1 },
		"--epochs -3: must be 0 (the preset's) or more":                   func(o *flows.StudyOptions) { o.Epochs = -3 },
	} {
		o := studyOptions(t, "")
		o.ViewDirs = ""
		change(&o)
		if err := o.Check("losses"); err == nil || err.Error() != want {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// Accuracies of several seeds have a deviation, the one of a single seed has none.
func TestStudyTable(t *testing.T) {
	table := func(seeds []int, top1, differences []float64) string {
		r := flows.StudyResult{Question: "Which?", Columns: []string{"L", "ab"}, Recipe: flows.StudyRecipe{Data: "scenes", Train: 9, Val: 1, Model: "alexnet", ImageSize: 48, Epochs: 1, Layer: 5, Seeds: seeds},
			Rows: []flows.StudyRow{{Variant: "softmax", Top1: map[string][]float64{"L": top1}}}, Claims: []flows.Verdict{{Claim: "softmax ≥ NCE, L", Differences: differences, Holds: true, Seeds: 1}}}
		return r.Markdown()
	}
	head := "Which?\n\n| linear probe top-1, % | L | ab |\n|---|---|---|\n"
	recipe := "; 9 training and 1 validation image (scenes), alexnet at 48 pixels, 1 epoch, layer 5.\n\n- softmax ≥ NCE, L: **holds** (difference "
	want := head + "| softmax | 30.0 ± 14.1 | |\n\nMean ± standard deviation of seeds 1,4" + recipe + "+5.0 ± 21.2, in 1 of 2 seeds)\n"
	if got := table([]int{1, 4}, []float64{0.2, 0.4}, []float64{0.2, -0.1}); got != want {
		t.Errorf("two seeds: got\n%s\nwant\n%s", got, want)
	}
	want = head + "| softmax | 20.0 | |\n\nSeed 4" + recipe + "+20.0)\n"
	if got := table([]int{4}, []float64{0.2}, []float64{0.2}); got != want {
		t.Errorf("one seed: got\n%s\nwant\n%s", got, want)
	}
}
