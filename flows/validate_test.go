package flows

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// Means and deviations are finite numbers, as every other number is.
func TestValidateLists(t *testing.T) {
	for want, change := range map[string]func(d *DataOptions){
		"--view_mean [NaN 0 0]: must be finite numbers": func(d *DataOptions) { d.ViewMean[0] = math.NaN() },
		"--view_std [1 +Inf 1]: must be finite numbers": func(d *DataOptions) { d.ViewStd[1] = math.Inf(1) },
	} {
		o := Defaults("cmc")
		o.Data.ViewMean, o.Data.ViewStd = []float64{0, 0, 0}, []float64{1, 1, 1}
		if err := Validate(o); err != nil {
			t.Fatal(err)
		}
		change(&o.Data)
		if err := Validate(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// What would not fit the memory is refused before it is taken: the weights, the bank of all images, the scores; and so it is by
// the benchmarks.
func TestFits(t *testing.T) {
	have := availableMemory()
	if have == 0 {
		t.Skip("the system does not say how much memory is free")
	}
	o := Defaults("cmc")
	o.Loss.K = 1
	_, step := StepBench{Flow: "cmc", Model: "alexnet", Batch: 2, ImageSize: 64, K: 1, N: 2e12, Steps: 1}.Run()
	_, rows := BankBench{Batch: 1, K: 1, D: 128, N: 1e13, Runs: 1}.Run()
	_, scores := BankBench{Batch: 1e8, K: 1e6, D: 1, N: 1, Runs: 1}.Run()
	found := map[string]error{
		"--feat_dim 128 with a bank of 4000000000000 rows takes":  fits(o, 2e12),
		"--feat_dim 128 with a bank of 4000000000000 rows":        step,
		"--feat_dim 128 with a bank of 10000000000000 rows takes": rows,
		"--batch 100000000 with --nce_k 1000000 takes":            scores,
	}
	if o.Net.FeatDim = 1 << 20; have < 40<<30 { // the weights of two towers are 46 GiB
		found["--feat_dim 1048576 of --model alexnet takes"] = fits(o, 0)
	}
	for want, err := range found {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if err := fits(Defaults("cmc"), 1000); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

// A setting of a mixture is taken to the ends of its range and refused beyond them, by the name of its flag.
func TestMixtureRanges(t *testing.T) {
	inf := math.Inf(1)
	unit, outside := []float64{0, 1}, []float64{-0.01, 1.01, math.NaN()}
	for _, c := range []struct {
		kinds, flag string
		set         func(m *MixOptions, v float64)
		good, bad   []float64
	}{
		{"IM global", "g_alpha", func(m *MixOptions, v float64) { m.GAlpha = v }, []float64{1e-3, 1e6}, []float64{0, -1, 1.1e6, inf}},
		{"IM global", "g_num", func(m *MixOptions, v float64) { m.GNum = int(v) }, []float64{0, 3}, []float64{-1}},
		{"IM global", "g_prob", func(m *MixOptions, v float64) { m.GProb = v }, unit, outside},
		{"IM region", "r_beta", func(m *MixOptions, v float64) { m.RBeta = v }, []float64{-1, 0, 1e6}, []float64{1.1e6, inf}},
		{"IM region", "r_num", func(m *MixOptions, v float64) { m.RNum = int(v) }, []float64{0, 3}, []float64{-1}},
		{"IM region", "r_prob", func(m *MixOptions, v float64) { m.RProb = v }, unit, outside},
		{"IM region", "r_pixel_decay", func(m *MixOptions, v float64) { m.RDecay = v }, unit, outside},
		{"Cutout", "mask_size", func(m *MixOptions, v float64) { m.MaskSize, m.CutoutInside = v, false }, []float64{1, 225}, []float64{0, 0.5, 1.5, -1}},
		{"Cutout", "mask_size", func(m *MixOptions, v float64) { m.MaskSize, m.CutoutInside = v, true }, []float64{1, 224}, []float64{225}},
		{"Cutout", "cutout_p", func(m *MixOptions, v float64) { m.CutoutP = v }, unit, outside},
		{"RandomErasing", "random_erasing_prob", func(m *MixOptions, v float64) { m.EraseP = v }, unit, outside},
		{"RandomErasing", "area_ratio_range", func(m *MixOptions, v float64) { m.AreaRange = []float64{v, 0.4} }, []float64{1e-3, 0.4}, []float64{0, 0.41}},
		{"RandomErasing", "area_ratio_range", func(m *MixOptions, v float64) { m.AreaRange = []float64{0.02, v} }, []float64{0.02, 1}, []float64{0.01, 1.01}},
		{"RandomErasing", "area_ratio_range", func(m *MixOptions, v float64) { m.AreaRange = []float64{0.1, 0.2, 0.3}[:int(v)] }, []float64{2}, []float64{0, 1, 3}},
		{"RandomErasing", "min_aspect_ratio", func(m *MixOptions, v float64) { m.MinAspect = v }, []float64{1e-3, 1}, []float64{0, 1.01}},
		{"RandomErasing", "max_attempt", func(m *MixOptions, v float64) { m.MaxAttempt = int(v) }, []float64{1}, []float64{0}},
		{"unmix", "unmix_beta", func(m *MixOptions, v float64) { m.UnmixBeta = v }, []float64{1e-3, 1e6}, []float64{0, 1.1e6}},
		{"unmix", "unmix_prob", func(m *MixOptions, v float64) { m.UnmixProb = v }, unit, outside},
	} {
		for _, kind := range []string{"IM", "global", "region", "Cutout", "RandomErasing", "unmix"} {
			check := func(v float64) error {
				o := Defaults("moco")
				o.Mix.On, o.Mix.Type = true, kind
				c.set(&o.Mix, v)
				return errors.Join(validateMix(o)...)
			}
			for _, v := range c.good {
				if err := check(v); err != nil {
					t.Errorf("%s: --%s %v: %v", kind, c.flag, v, err)
				}
			}
			uses := slices.Contains(strings.Fields(c.kinds), kind)
			for _, v := range c.bad {
				if err := check(v); (err != nil) != uses || uses && !strings.HasPrefix(err.Error(), "--"+c.flag+" ") {
					t.Errorf("%s: --%s %v: %v", kind, c.flag, v, err)
				}
			}
		}
	}
}
