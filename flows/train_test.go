package flows_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/synth"
)

// images draws a small data set once for all tests of a package.
func images(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := synth.Write(context.Background(), dir, synth.Options{Classes: 3, PerClass: 9, ValPerClass: 4, Size: 48, Seed: 5}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// small are options of a run that takes a second.
func small(t *testing.T, method, data string) flows.Options {
	t.Helper()
	o := flows.Defaults(method)
	o.Data.Folder, o.Data.ImageSize, o.Data.Dataset, o.Data.Decoder, o.Data.CropLow = data, 32, "imagenet100", "go", 0.3
	o.Net.Model = map[string]string{"cmc": "resnet18v1"}[method]
	if o.Net.Model == "" {
		o.Net.Model = "resnet18"
	}
	o.Loss.K, o.Optim.BatchSize, o.Optim.Epochs = 16, 8, 2
	o.Run.ModelPath, o.Run.SaveFreq, o.Run.Keep = t.TempDir(), 0, 0
	return o
}

// run trains and returns metrics.jsonl without its times.
func run(t *testing.T, o flows.Options) string {
	t.Helper()
	return runWith(t, o, func(*flows.Run) {})
}

// runWith is run with something set up before it, and others told of its steps.
func runWith(t *testing.T, o flows.Options, setup func(r *flows.Run), told ...func(*flows.StepReport)) string {
	t.Helper()
	r, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	setup(r)
	m, err := flows.NewMetrics(r.Dir, r.Start())
	if err != nil {
		t.Fatal(err)
	}
	r.Observe = func(rep *flows.StepReport) {
		m.Write(rep)
		for _, f := range told {
			f(rep)
		}
	}
	if err := r.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(r.Dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`"images_per_s":[^,}]*`).ReplaceAllString(string(raw), "")
}

// Every method trains with both losses: finite numbers, the reference's names, one line a step.
func TestMethods(t *testing.T) {
	t.Parallel()
	data := images(t)
	for method, names := range map[string][]string{
		"cmc":    {"l_loss", "l_prob", "ab_loss", "ab_prob"},
		"moco":   {"ins_loss", "ins_prob"},
		"insdis": {"ins_loss", "ins_prob"},
	} {
		for _, softmax := range []bool{false, true} {
			o := small(t, method, data)
			o.Loss.Softmax, o.Run.MaxSteps = softmax, 3
			lines := strings.Split(strings.TrimSpace(run(t, o)), "\n")
			if len(lines) != 3 {
				t.Fatalf("%s: %d lines for 3 steps", method, len(lines))
			}
			for i, l := range lines {
				var v map[string]any
				if err := json.Unmarshal([]byte(strings.Replace(l, ",,", ",", 1)), &v); err != nil {
					t.Fatalf("%s: %v in %s", method, err, l)
				}
				for _, n := range append([]string{"loss"}, names...) {
					if x, ok := v[n].(float64); !ok || math.IsNaN(x) {
						t.Errorf("%s softmax %v step %d: %s is %v", method, softmax, i, n, v[n])
					}
				}
				if v["step"] != float64(i) || v["epoch"] != 1.0 {
					t.Errorf("%s: step %v of epoch %v, want %d of 1", method, v["step"], v["epoch"], i)
				}
			}
		}
	}
}

// One and several decode workers, run twice, and any number of compute threads: the same bytes but for times.
func TestDeterminism(t *testing.T) {
	t.Parallel()
	data := images(t)
	var want string
	for _, c := range [][2]int{{1, 1}, {1, 1}, {2, 1}, {3, 2}} {
		o := small(t, "cmc", data)
		o.Data.Workers, o.Net.Threads = c[0], c[1]
		got := run(t, o)
		if want == "" {
			want = got
		}
		if got != want {
			t.Fatalf("%d decode workers and %d threads give other metrics:\n%s\n%s", c[0], c[1], got, want)
		}
	}
}

// A run stopped at a step and resumed goes on as if it had not stopped: the same losses and the same last checkpoint, for every
// method, both losses, mixtures, and any number of decode workers and threads before and after.
func TestResume(t *testing.T) {
	t.Parallel()
	data := images(t)
	moving := func(o *flows.Options) { o.Loss.ZDecay = 0.9 }
	mixed := func(kind, partner string) func(o *flows.Options) {
		return func(o *flows.Options) {
			o.Mix.On, o.Mix.Type, o.Mix.Partner, o.Mix.GProb, o.Mix.RProb, o.Mix.MaskSize, o.Mix.CutoutP, o.Mix.EraseP = true, kind, partner, 0.7, 0.7, 9, 0.7, 0.7
		}
	}
	cosine := func(o *flows.Options) { o.Optim.Cosine, o.Optim.WarmEpochs, o.Net.BNGroups = true, 1, 2 }
	for _, c := range []struct {
		method  string
		softmax bool
		stops   []int
		set     func(o *flows.Options)
	}{
		{"cmc", false, []int{1, 4, 7}, nil}, {"cmc", true, []int{3}, mixed("IM", "dataset")}, {"cmc", false, []int{5}, moving},
		{"moco", false, []int{3}, mixed("RandomErasing", "dataset")}, {"moco", true, []int{6}, mixed("unmix", "dataset")}, {"moco", true, []int{2, 4}, cosine},
		{"insdis", false, []int{3}, mixed("Cutout", "batch")}, {"insdis", true, []int{5}, mixed("IM", "batch")},
	} {
		name := fmt.Sprintf("%s softmax %v stopped at %v", c.method, c.softmax, c.stops)
		straight, stopped := small(t, c.method, data), small(t, c.method, data)
		for _, o := range []*flows.Options{&straight, &stopped} {
			if o.Loss.Softmax = c.softmax; c.set != nil {
				c.set(o)
			}
		}
		straight.Run.SaveSteps = 3 // saving beside training changes nothing
		want := run(t, straight)
		for i, step := range c.stops {
			part := stopped
			part.Run.Resume, part.Run.MaxSteps, part.Data.Workers, part.Net.Threads = "auto", step, 1+i, 1+i%2
			run(t, part)
		}
		// A killed run leaves lines behind its last checkpoint: they are written again.
		f, err := os.OpenFile(filepath.Join(stopped.Run.ModelPath, flows.RunName(stopped), "metrics.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		at := c.stops[len(c.stops)-1]
		if _, err := fmt.Fprintf(f, "{\"step\":%d,\"loss\":0}\n{\"step\":%d,\"lo", at, at+1); err != nil {
			t.Fatal(err)
		}
		f.Close()
		stopped.Run.Resume, stopped.Data.Workers, stopped.Net.Threads = "auto", 4, 2
		if got := run(t, stopped); got != want {
			t.Errorf("%s: resumed metrics differ:\n%s\n%s", name, got, want)
		}
		a, b := readLast(t, straight), readLast(t, stopped)
		if d := flows.Diff(a, b); len(d) > 0 || a.Step != 8 {
			t.Errorf("%s: the last checkpoints, of step %d, differ: %v", name, a.Step, d)
		}
		if x, y := string(a.Meta["meters"]), string(b.Meta["meters"]); x != y {
			t.Errorf("%s: meters %s, want %s", name, y, x)
		}
	}
}

func readLast(t *testing.T, o flows.Options) *checkpoint.State {
	t.Helper()
	s, err := flows.ReadState(filepath.Join(o.Run.ModelPath, flows.RunName(o)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Stop ends the run after a step, with a checkpoint to go on from.
func TestStop(t *testing.T) {
	o := small(t, "cmc", images(t))
	o.Optim.Epochs = 100
	r, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stop := make(chan struct{})
	r.Stop = stop
	steps := 0
	r.Observe = func(*flows.StepReport) {
		if steps++; steps == 2 {
			close(stop)
		}
	}
	if err := r.Train(context.Background()); !errors.Is(err, flows.ErrStopped) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, fmt.Sprintf("step-%09d", steps))); err != nil {
		t.Errorf("after %d steps: %v", steps, err)
	}
}

// A second run in the same folder is refused while the first has it.
func TestLocked(t *testing.T) {
	o := small(t, "cmc", images(t))
	r, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := flows.Prepare(o); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("got %v", err)
	}
}

// Bad images are replaced, counted and named; too many end the run with the file's name.
func TestBadImages(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]func(good []byte) []byte{
		"text":      func([]byte) []byte { return []byte("this is not a picture") },
		"empty":     func([]byte) []byte { return nil },
		"truncated": func(good []byte) []byte { return good[:len(good)/4] },
		"huge": func(good []byte) []byte { // a header that promises 40,000×40,000 pixels
			b := append([]byte(nil), good...)
			i := strings.Index(string(b), "\xff\xc0")
			b[i+5], b[i+6], b[i+7], b[i+8] = 0x9c, 0x40, 0x9c, 0x40
			return b
		},
	} {
		data := images(t)
		path := filepath.Join(data, "train", synth.ClassName(1), "00003.jpg")
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content(good), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, decoder := range []string{"go", "auto"} {
			o := small(t, "cmc", data)
			o.Data.Decoder, o.Data.BadSamples = decoder, 0.2
			r, err := flows.Prepare(o)
			if err != nil {
				t.Fatal(err)
			}
			bad := map[string]int{}
			r.OnBad(func(name, by string, err error) { bad[name]++ })
			counted := 0
			r.Observe = func(s *flows.StepReport) { counted += len(s.Bad) }
			if err := r.Train(context.Background()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			r.Close()
			if len(bad) != 1 || bad[path] != 2 || counted != 2 {
				t.Errorf("%s with decoder %s: told of %v, counted %d, want %s twice", name, decoder, bad, counted, path)
			}
			o.Data.BadSamples, o.Run.ModelPath = 0, t.TempDir()
			if r, err = flows.Prepare(o); err != nil {
				t.Fatal(err)
			}
			if err := r.Train(context.Background()); err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: beyond the budget: got %v", name, err)
			}
			r.Close()
		}
	}
}

// A second run of the same name touches nothing of the first.
func TestSecondRun(t *testing.T) {
	o := small(t, "cmc", images(t))
	run(t, o)
	dir := filepath.Join(o.Run.ModelPath, flows.RunName(o))
	before, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	o.Run.MaxSteps = 1
	r, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	after, err := os.ReadFile(filepath.Join(dir+".1", "metrics.jsonl"))
	if err != nil || string(after) != string(before) || r.Moved != dir+".1" {
		t.Errorf("moved to %q, %v: want the first run's files in %s.1", r.Moved, err, dir)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "step-*")); err != nil || len(left) > 0 {
		t.Errorf("the new run's folder holds %v", left)
	}
}

// A trained checkpoint is scored beside a fresh encoder.
func TestScoreKNN(t *testing.T) {
	data := images(t)
	o := small(t, "cmc", data)
	run(t, o)
	s, err := flows.ScoreKNN(context.Background(), filepath.Join(o.Run.ModelPath, flows.RunName(o)), data, flows.DefaultKNN, flows.Open{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	if s.Train != 27 || s.Val != 12 || s.K != 27 || s.KNN < 0 || s.KNN > 1 || s.Untrained <= 0 {
		t.Errorf("%+v", s)
	}
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(o *flows.Options){
		"--nce_k 0":            func(o *flows.Options) { o.Loss.K = 0 },
		"--nce_t 0":            func(o *flows.Options) { o.Loss.T = 0 },
		"--nce_m 2":            func(o *flows.Options) { o.Loss.M = 2 },
		"--bn_groups 3":        func(o *flows.Options) { o.Net.BNGroups = 3 },
		"--image_size 31":      func(o *flows.Options) { o.Data.ImageSize = 31 },
		"--crop_low 0":         func(o *flows.Options) { o.Data.CropLow = 0 },
		"GiB":                  func(o *flows.Options) { o.Loss.K = 1 << 40 },
		"--batch_size 1":       func(o *flows.Options) { o.Optim.BatchSize = 1 },
		"--feat_dim 0":         func(o *flows.Options) { o.Net.FeatDim = 0 },
		"--feat_dim 2097":      func(o *flows.Options) { o.Net.FeatDim = 2097152 },
		"--nce_k 9223372":      func(o *flows.Options) { o.Loss.K = math.MaxInt64 },
		"--workers 10000":      func(o *flows.Options) { o.Data.Workers = 10000 },
		"--threads 10000":      func(o *flows.Options) { o.Net.Threads = 10000 },
		"--run_name \"..\"":    func(o *flows.Options) { o.Run.Name = ".." },
		"--run_name \".\"":     func(o *flows.Options) { o.Run.Name = "." },
		"--run_name \"a/b":     func(o *flows.Options) { o.Run.Name = "a/b" },
		"--run_name \"/a\"":    func(o *flows.Options) { o.Run.Name = "/a" },
		"--learning_rate +Inf": func(o *flows.Options) { o.Optim.LR = math.Inf(1) },
		"--nce_t +Inf":         func(o *flows.Options) { o.Loss.T = math.Inf(1) },
		"--learning_rate":      func(o *flows.Options) { o.Optim.LR = -1 },
	} {
		o := flows.Defaults("cmc")
		change(&o)
		if err := flows.Validate(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if err := flows.Validate(flows.Defaults("moco")); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestRunNames(t *testing.T) {
	cmc, moco, insdis := flows.Defaults("cmc"), flows.Defaults("moco"), flows.Defaults("insdis")
	moco.Loss.Softmax = true
	insdis.Optim.LR, insdis.Optim.WeightDecay = 30, 1e-5
	resnets, short := cmc, cmc // the original's documentation; its flag takes resnet50v1 only
	resnets.Net.Model, short.Net.Model = "resnets50v1", "resnets50"
	for _, c := range []struct {
		o    flows.Options
		want string
	}{
		{cmc, "memory_nce_16384_alexnet_lr_0.03_decay_0.0001_bsz_128_view_Lab"},
		{resnets, "memory_nce_16384_resnet50v1_lr_0.03_decay_0.0001_bsz_128_view_Lab"},
		{short, "memory_nce_16384_resnet50v1_lr_0.03_decay_0.0001_bsz_128_view_Lab"},
		{moco, "MoCo0.999_softmax_16384_resnet50_lr_0.03_decay_0.0001_bsz_128_crop_0.1_aug_CJ"},
		{insdis, "InsDis_nce_16384_resnet50_lr_30.0_decay_1e-05_bsz_128_crop_0.1_aug_CJ"},
	} {
		if got := flows.RunName(c.o); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

// Two mixtures have two names; what has its default is not told, but for what the kind is known by.
func TestMixtureNames(t *testing.T) {
	seen := map[string]bool{}
	for _, kind := range []string{"Cutout", "RandomErasing"} {
		for _, change := range []func(m *flows.MixOptions){
			func(m *flows.MixOptions) {},
			func(m *flows.MixOptions) { m.CutoutInside, m.AreaRange = true, []float64{0.02, 0.2} },
			func(m *flows.MixOptions) { m.MaskColor, m.MinAspect = -1, 0.5 },
			func(m *flows.MixOptions) { m.MaskSize, m.MaxAttempt = 16, 5 },
			func(m *flows.MixOptions) { m.CutoutP, m.EraseP = 0.5, 0.5 },
		} {
			o := flows.Defaults("moco")
			o.Mix.On, o.Mix.Type = true, kind
			change(&o.Mix)
			if name := flows.RunName(o); seen[name] {
				t.Errorf("two mixtures by %s are named %s", kind, name)
			} else {
				seen[name] = true
			}
		}
	}
	for _, end := range []string{"_Cutout_50.0_0.1", "_RandomErasing_0.1", "_Cutout_50.0_0.1_inside", "_RandomErasing_0.1_area_0.02-0.2"} {
		if name := "MoCo0.999_nce_16384_resnet50_lr_0.03_decay_0.0001_bsz_128_crop_0.1_aug_CJ" + end; !seen[name] {
			t.Errorf("none is named %s", name)
		}
	}
}

// The rates are those of the reference, to the last bit but one.
func TestSchedule(t *testing.T) {
	for _, c := range []struct {
		lr, rate float64
		decay    []int
		want     map[int]float64
	}{
		{0.03, 0.1, []int{360, 480, 540}, map[int]float64{1: 0.03, 360: 0.03, 361: 0.003, 480: 0.003, 481: 0.0003, 541: 3.0000000000000008e-05, 600: 3.0000000000000008e-05}},
		{0.03, 0.1, []int{120, 160, 200}, map[int]float64{120: 0.03, 121: 0.003, 161: 0.0003, 201: 3.0000000000000008e-05}},
		{0.1, 0.2, []int{30, 40, 50}, map[int]float64{30: 0.1, 31: 0.020000000000000004, 41: 0.004, 51: 0.0008000000000000003}},
		{30, 0.2, []int{30, 40, 50}, map[int]float64{31: 6, 41: 1.2, 51: 0.24000000000000005}},
	} {
		o := flows.OptimOptions{LR: c.lr, DecayRate: c.rate, DecayEpochs: c.decay, Epochs: 600}
		for e, want := range c.want {
			if got := o.Rate(e); got != want && got != math.Nextafter(want, math.Inf(1)) {
				t.Errorf("base %v epoch %d: %v, want %v", c.lr, e, got, want)
			}
		}
	}
	o := flows.OptimOptions{LR: 10, DecayRate: 0.2, Cosine: true, Epochs: 60}
	for e, want := range map[int]float64{1: 9.99315315563385, 15: 8.536705478807992, 30: 5.004, 60: 0.008000000000000002} {
		if got := o.Rate(e); math.Abs(got-want) > 1e-12 {
			t.Errorf("cosine epoch %d: %v, want %v", e, got, want)
		}
	}
	o = flows.OptimOptions{LR: 10, DecayRate: 0.1, DecayEpochs: []int{5}, WarmEpochs: 4, Epochs: 60}
	for e, want := range map[int]float64{1: 2, 2: 4, 4: 8, 5: 10, 6: 1} {
		if got := o.Rate(e); math.Abs(got-want) > 1e-12 {
			t.Errorf("warm-up, epoch %d: %v, want %v", e, got, want)
		}
	}
}
