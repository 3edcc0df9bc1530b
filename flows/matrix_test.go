package flows_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
)

// losses are the loss of every line of metrics.
func losses(t *testing.T, metrics string) (out []float64) {
	t.Helper()
	for _, l := range strings.Split(strings.TrimSpace(metrics), "\n") {
		var v struct {
			Loss *float64 `json:"loss"`
		}
		if err := json.Unmarshal([]byte(strings.Replace(l, ",,", ",", 1)), &v); err != nil || v.Loss == nil {
			t.Fatalf("%v in %s", err, l)
		}
		out = append(out, *v.Loss)
	}
	return out
}

// Every method, with both losses and every mixture, runs two steps. A mixture changes what is seen, so it must change the
// loss.
func TestMatrix(t *testing.T) {
	t.Parallel()
	data := images(t)
	for _, method := range []string{"cmc", "moco", "insdis"} {
		for _, softmax := range []bool{false, true} {
			plain := ""
			for _, mix := range []string{"", "IM", "global", "region", "Cutout", "RandomErasing", "IM batch", "unmix"} {
				if mix == "unmix" && method != "moco" {
					continue
				}
				t.Run(fmt.Sprintf("%s/softmax=%v/%s", method, softmax, mix), func(t *testing.T) {
					o := small(t, method, data)
					o.Loss.Softmax, o.Run.MaxSteps = softmax, 2
					if kind, partner, _ := strings.Cut(mix, " "); kind != "" {
						o.Mix.On, o.Mix.Type = true, kind
						if partner != "" {
							o.Mix.Partner = partner
						}
						o.Mix.GProb, o.Mix.RProb, o.Mix.CutoutP, o.Mix.EraseP, o.Mix.MaskSize = 1, 1, 1, 1, 12
					}
					if err := flows.Validate(o); err != nil {
						t.Fatal(err)
					}
					got := run(t, o)
					if n := losses(t, got); len(n) != 2 || math.IsNaN(n[0]+n[1]) {
						t.Fatalf("losses %v", n)
					}
					if mix == "" {
						plain = got
					} else if got == plain {
						t.Error("the mixture changed nothing")
					}
				})
			}
		}
	}
}

// A run with mixture is the same for any number of workers, and when it is stopped and resumed.
func TestMixtureResume(t *testing.T) {
	t.Parallel()
	data := images(t)
	for method, mix := range map[string]string{"cmc": "IM", "insdis": "region", "moco": "unmix"} {
		t.Run(method+"/"+mix, func(t *testing.T) {
			make := func(workers, steps int, dir string) flows.Options {
				o := small(t, method, data)
				o.Mix.On, o.Mix.Type, o.Mix.GProb, o.Mix.RProb = true, mix, 0.5, 0.5
				o.Data.Workers, o.Run.MaxSteps, o.Run.Resume = workers, steps, "auto"
				if dir != "" {
					o.Run.ModelPath = dir
				}
				return o
			}
			straight := make(1, 0, "")
			want := run(t, straight)
			first := make(2, 3, "")
			run(t, first)
			second := make(3, 0, first.Run.ModelPath)
			if got := run(t, second); got != want {
				t.Fatalf("resumed metrics differ:\n%s\n%s", got, want)
			}
			read := func(o flows.Options, name string) []byte {
				b, err := os.ReadFile(filepath.Join(o.Run.ModelPath, flows.RunName(o), "step-000000008", name))
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			if !bytes.Equal(read(straight, "tensors.safetensors"), read(second, "tensors.safetensors")) {
				t.Error("resumed parameters differ")
			}
			type document struct {
				State struct {
					Meta struct{ Meters flows.Averages }
				}
			}
			var a, b document
			for o, v := range map[*flows.Options]any{&straight: &a, &second: &b} {
				if err := json.Unmarshal(read(*o, "state.json"), v); err != nil {
					t.Fatal(err)
				}
			}
			if fmt.Sprint(a) != fmt.Sprint(b) || a.State.Meta.Meters.Samples == 0 {
				t.Errorf("meters %v, want %v", b, a)
			}
		})
	}
}

// A resumed run with other options is refused, by name, unless it is forced, which is told, or the option changes nothing.
func TestResumeChanged(t *testing.T) {
	data := images(t)
	o := small(t, "cmc", data)
	o.Run.Name, o.Run.MaxSteps = "run", 2
	run(t, o)
	try := func(change func(o *flows.Options)) (told []string, err error) {
		p := o
		p.Run.Resume, p.Run.MaxSteps = "auto", 3
		change(&p)
		r, err := flows.Prepare(p)
		if err == nil {
			told = r.Warnings
			r.Close()
		}
		return told, err
	}
	if _, err := try(func(p *flows.Options) { p.Loss.T, p.Optim.LR = 0.2, 1 }); err == nil ||
		!strings.Contains(err.Error(), "--nce_t was 0.07, is 0.2; --learning_rate was 0.03, is 1") {
		t.Errorf("changed options: %v", err)
	}
	for name, c := range map[string]struct {
		change func(*flows.Options)
		told   string
	}{
		"forced": {func(p *flows.Options) { p.Loss.T, p.Optim.LR, p.Run.Force = 0.2, 1, true },
			"[--force: options differ from the checkpoint's: --nce_t was 0.07, is 0.2; --learning_rate was 0.03, is 1]"},
		"forced needlessly": {func(p *flows.Options) { p.Run.Force = true }, "[]"},
		"workers":           {func(p *flows.Options) { p.Data.Workers = 2 }, "[]"},
		"longer":            {func(p *flows.Options) { p.Optim.Epochs = 9 }, "[]"},
	} {
		if told, err := try(c.change); err != nil || fmt.Sprint(told) != c.told {
			t.Errorf("%s: told %v, want %s: %v", name, told, c.told, err)
		}
	}
}

// Bad values are refused before anything is written, with the flag's name.
func TestRefusals(t *testing.T) {
	data := images(t)
	for flag, change := range map[string]func(o *flows.Options){
		"--g_alpha":       func(o *flows.Options) { o.Mix.On, o.Mix.GAlpha = true, 0 },
		"--g_num":         func(o *flows.Options) { o.Mix.On, o.Mix.GNum = true, 4e9 },
		"--r_num":         func(o *flows.Options) { o.Mix.On, o.Mix.RNum = true, 4e9 },
		"--max_attempt":   func(o *flows.Options) { o.Mix.On, o.Mix.Type, o.Mix.MaxAttempt = true, "RandomErasing", 4e9 },
		"--g_prob":        func(o *flows.Options) { o.Mix.On, o.Mix.GProb = true, 1.5 },
		"--r_prob":        func(o *flows.Options) { o.Mix.On, o.Mix.RProb = true, -0.1 },
		"--r_pixel_decay": func(o *flows.Options) { o.Mix.On, o.Mix.RDecay = true, 2 },
		"--cutout_p":      func(o *flows.Options) { o.Mix.On, o.Mix.Type, o.Mix.CutoutP = true, "Cutout", 7 },
		"--mask_size":     func(o *flows.Options) { o.Mix.On, o.Mix.Type, o.Mix.MaskSize = true, "Cutout", 10.5 },
		"--area_ratio_range": func(o *flows.Options) {
			o.Mix.On, o.Mix.Type, o.Mix.AreaRange = true, "RandomErasing", []float64{0.5, 0.1}
		},
		"--min_aspect_ratio":      func(o *flows.Options) { o.Mix.On, o.Mix.Type, o.Mix.MinAspect = true, "RandomErasing", 0 },
		"--IM_type unmix":         func(o *flows.Options) { o.Mix.On, o.Mix.Type = true, "unmix" },
		"--nce_k 0":               func(o *flows.Options) { o.Loss.K = 0 },
		"--nce_k 1000000000000":   func(o *flows.Options) { o.Loss.K = 1e12 },
		"--nce_t 0":               func(o *flows.Options) { o.Loss.T = 0 },
		"--nce_t -1":              func(o *flows.Options) { o.Loss.T = -1 },
		"--nce_m":                 func(o *flows.Options) { o.Loss.M = 1.1 },
		"--alpha":                 func(o *flows.Options) { o.Net.Alpha = -0.5 },
		"--bn_groups 3":           func(o *flows.Options) { o.Net.BNGroups = 3 },
		"--crop_low":              func(o *flows.Options) { o.Data.CropLow = 0 },
		"--image_size":            func(o *flows.Options) { o.Data.ImageSize = 16 },
		"--learning_rate":         func(o *flows.Options) { o.Optim.LR = -1 },
		"no colour space":         func(o *flows.Options) { o.Data.View = "Labb" },
		"--view HSV":              func(o *flows.Options) { o.Data.View = "HSV" },
		"--view_mean, --view_std": func(o *flows.Options) { o.Data.View, o.Data.ViewMean = "HSV", []float64{1, 2} },
		"--views":                 func(o *flows.Options) { o.Data.Views = "L|L" },
		"--graph":                 func(o *flows.Options) { o.Loss.Graph = "ring" },
	} {
		o := small(t, "cmc", data)
		change(&o)
		err := flows.Validate(o)
		if err == nil {
			var r *flows.Run
			if r, err = flows.Prepare(o); err == nil {
				r.Close()
			}
		}
		if err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
		if left, _ := os.ReadDir(o.Run.ModelPath); len(left) > 0 {
			t.Errorf("%s: refused, but %s was written", flag, left[0].Name())
		}
	}
}

// Every colour space trains, those without known constants with measured ones.
func TestColourSpaces(t *testing.T) {
	t.Parallel()
	data := images(t)
	for _, view := range []string{"RGB", "YCbCr", "YDbDr", "HSV", "HED", "LUV", "YUV", "XYZ", "YPbPr", "YIQ", "CIERGB", "Lab"} {
		o := small(t, "cmc", data)
		o.Data.View, o.Run.MaxSteps = view, 1
		s, err := flows.DataStats(t.Context(), data, view, "go", 5)
		if err != nil {
			t.Fatal(err)
		}
		o.Data.ViewMean, o.Data.ViewStd = s.Mean[:], s.Std[:]
		if n := losses(t, run(t, o)); math.IsNaN(n[0]) {
			t.Errorf("%s: loss %v", view, n)
		}
	}
}
