package flows

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Validate checks options before anything is opened or written. The message says the flag, what was found and what to do;
// several mistakes are one error, a line each, the first being what a command prints.
func Validate(o Options) error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	add := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	unit := func(name string, v float64) { bad(v >= 0 && v <= 1, "--%s %v: must be in [0,1]", name, v) }

	bad(o.Data.ImageSize >= 32 && o.Data.ImageSize <= 4096, "--image_size %d: must be between 32 and 4096", o.Data.ImageSize)
	bad(o.Data.CropLow > 0 && o.Data.CropLow <= 1, "--crop_low %v: must be in (0,1]", o.Data.CropLow)
	unit("bad_samples", o.Data.BadSamples)
	add(CheckCount("workers", o.Data.Workers, "half the cores"))
	bad(o.Data.CPUBudget > 0 && o.Data.CPUBudget <= 1, "--cpu_budget %v: must be a share of the cores, in (0,1]", o.Data.CPUBudget)
	bad(o.Run.Watchdog >= 0, "--watchdog %v: must be a number of seconds, or 0 for never", o.Run.Watchdog)
	if _, err := parseDevice(o.Net.Device); err != nil {
		errs = append(errs, err)
	}
	if o.Run.Metrics != "" {
		_, port, err := net.SplitHostPort(o.Run.Metrics)
		bad(err == nil && port != "", "--metrics_addr %q: want host:port, or :port for this machine alone, such as :9090", o.Run.Metrics)
	}
	add(CheckCount("threads", o.Net.Threads, "one a core"))
	bad(o.Net.FeatDim >= 1 && o.Net.FeatDim <= 1<<20, "--feat_dim %d: must be between 1 and %d", o.Net.FeatDim, 1<<20)
	bad(o.Net.BNGroups >= 1 && o.Optim.BatchSize%max(o.Net.BNGroups, 1) == 0, "--bn_groups %d: must divide --batch_size %d", o.Net.BNGroups, o.Optim.BatchSize)
	unit("alpha", o.Net.Alpha)
	bad(o.Loss.K >= 1, "--nce_k %d: must be at least 1", o.Loss.K)
	bad(o.Loss.T > 0, "--nce_t %v: the temperature must be positive", o.Loss.T)
	unit("nce_m", o.Loss.M)
	bad(o.Loss.ZDecay >= 0 && o.Loss.ZDecay < 1, "--nce_z_ema %v: must be in [0,1)", o.Loss.ZDecay)
	bad(o.Optim.BatchSize >= 2, "--batch_size %d: batch normalisation needs at least 2", o.Optim.BatchSize)
	bad(o.Optim.Epochs >= 1, "--epochs %d: must be at least 1", o.Optim.Epochs)
	bad(o.Optim.LR > 0, "--learning_rate %v: must be positive", o.Optim.LR)
	bad(o.Optim.DecayRate > 0, "--lr_decay_rate %v: must be positive", o.Optim.DecayRate)
	bad(o.Optim.Momentum >= 0 && o.Optim.Momentum < 1, "--momentum %v: must be in [0,1)", o.Optim.Momentum)
	bad(o.Optim.WeightDecay >= 0, "--weight_decay %v: must not be negative", o.Optim.WeightDecay)
	add(checkName(o.Run.Name))
	bad(o.Run.MaxSteps >= 0, "--max_steps %d: must be 0 (no limit) or more", o.Run.MaxSteps)
	bad(o.Run.PrintFreq >= 0, "--print_freq %d: must be 0 (a line a second) or more", o.Run.PrintFreq)
	bad(o.Run.KNNEvery >= 0, "--knn_every %d: must be 0 (never) or more", o.Run.KNNEvery)
	bad(o.Run.KNNEvery == 0 || o.Run.KNNImages >= 2, "--knn_images %d: must be at least 2", o.Run.KNNImages)
	bad(o.Run.Keep >= 0, "--keep %d: must be 0 (all) or more", o.Run.Keep)
	bad(o.Run.SaveFreq >= 0, "--save_freq %d: must be 0 (at the end only) or more", o.Run.SaveFreq)
	bad(o.Run.SaveSteps >= 0, "--save_steps %d: must be 0 (never) or more", o.Run.SaveSteps)
	bad(noneBelow(1, o.Optim.DecayEpochs), "--lr_decay_epochs %v: epochs count from 1", (*intList)(&o.Optim.DecayEpochs))
	bad(o.Optim.WarmEpochs >= 0, "--warmup_epochs %d: must be 0 (none) or more", o.Optim.WarmEpochs)
	if o.Mix.On {
		errs = append(errs, validateMix(o)...)
	}
	if m, err := modelOf(o); err != nil {
		errs = append(errs, err)
	} else if _, err := viewsOf(o, m); err != nil {
		errs = append(errs, err)
	}
	for _, f := range flagTable() {
		if !f.applies(o.Method) {
			continue
		}
		switch v := f.value(&o).(type) {
		case *float64:
			bad(*v-*v == 0, "--%s %v: must be a finite number", f.name, *v)
		case *floatList:
			bad(!slices.ContainsFunc(*v, func(x float64) bool { return x-x != 0 }), "--%s %v: must be finite numbers", f.name, []float64(*v))
		}
	}
	if len(errs) == 0 {
		errs = append(errs, fits(o, 0))
	}
	return errors.Join(errs...)
}

// noneBelow says whether every number of a list is at least so much.
func noneBelow(least int, list []int) bool {
	return !slices.ContainsFunc(list, func(v int) bool { return v < least })
}

// MostWorkers is the largest number of workers or threads that a flag takes: every one takes memory.
const MostWorkers = 4096

// CheckCount refuses a number of workers or threads that nothing has use for. zero is what 0 stands for.
func CheckCount(flag string, n int, zero string) error {
	if n < 0 || n > MostWorkers {
		return fmt.Errorf("--%s %d: must be between 0 (%s) and %d", flag, n, zero, MostWorkers)
	}
	return nil
}

// mostAttempts is the largest number of attempts of a mixture: more would only hang.
const mostAttempts = 10000

// validateMix checks the flags of the mixture that is asked for.
func validateMix(o Options) (errs []error) {
	m := o.Mix
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	unit := func(name string, v float64) { bad(v >= 0 && v <= 1, "--%s %v: must be in [0,1]", name, v) }
	global := func() {
		bad(m.GAlpha > 0 && m.GAlpha <= 1e6, "--g_alpha %v: must be positive: λ is drawn from Beta(α,α)", m.GAlpha)
		bad(m.GNum >= 0 && m.GNum <= mostAttempts, "--g_num %d: must be between 0 and %d", m.GNum, mostAttempts)
		unit("g_prob", m.GProb)
	}
	region := func() {
		bad(m.RBeta <= 1e6, "--r_beta %v: must be at most 1e6", m.RBeta)
		bad(m.RNum >= 0 && m.RNum <= mostAttempts, "--r_num %d: must be between 0 and %d", m.RNum, mostAttempts)
		unit("r_prob", m.RProb)
		unit("r_pixel_decay", m.RDecay)
	}
	switch m.Type {
	case "IM":
		global()
		region()
	case "global":
		global()
	case "region":
		region()
	case "Cutout":
		size := int(m.MaskSize)
		bad(float64(size) == m.MaskSize && size >= 1, "--mask_size %v: must be a whole number of pixels, at least 1", m.MaskSize)
		bad(!m.CutoutInside || size <= o.Data.ImageSize, "--mask_size %v: with --cutout_inside it must fit --image_size %d", m.MaskSize, o.Data.ImageSize)
		unit("cutout_p", m.CutoutP)
	case "RandomErasing":
		unit("random_erasing_prob", m.EraseP)
		bad(len(m.AreaRange) == 2 && 0 < m.AreaRange[0] && m.AreaRange[0] <= m.AreaRange[1] && m.AreaRange[1] <= 1,
			"--area_ratio_range %v: want two shares of the area, the smaller first, in (0,1], such as 0.02,0.4", m.AreaRange)
		bad(m.MinAspect > 0 && m.MinAspect <= 1, "--min_aspect_ratio %v: must be in (0,1]", m.MinAspect)
		bad(m.MaxAttempt >= 1 && m.MaxAttempt <= mostAttempts, "--max_attempt %d: must be between 1 and %d", m.MaxAttempt, mostAttempts)
	case "unmix":
		bad(o.Method == "moco", "--IM_type unmix: only train moco has its loss")
		bad(m.UnmixBeta > 0 && m.UnmixBeta <= 1e6, "--unmix_beta %v: must be positive: λ is drawn from Beta(β,β)", m.UnmixBeta)
		unit("unmix_prob", m.UnmixProb)
	}
	return errs
}

// need is memory that something takes.
type need struct {
	what  string
	bytes float64
}

// inMemory refuses what does not fit the free memory, naming the part that takes most.
func inMemory(parts ...need) error {
	have, sum, most := availableMemory(), 0.0, need{}
	for _, p := range parts {
		if sum += p.bytes; p.bytes > most.bytes {
			most = p
		}
	}
	if have > 0 && sum > have {
		return fmt.Errorf("%s takes most of %.1f GiB that are needed, %.1f are free: lower one of them", most.what, sum/(1<<30), have/(1<<30))
	}
	return nil
}

// fits refuses a run whose scores, bank, or weights with their gradients and velocities would not fit the memory. n is the number
// of images, 0 while it is not known.
func fits(o Options, n int) error {
	m, err := modelOf(o)
	if err != nil {
		return err
	}
	v, err := viewsOf(o, m)
	if err != nil {
		return err
	}
	weights := 0
	for _, c := range v.channels() {
		for _, p := range m.Net.Tower(c, o.Data.ImageSize).Params {
			weights += p.Len()
		}
	}
	parts := []need{{fmt.Sprintf("--feat_dim %d of --model %s", o.Net.FeatDim, m.Name), 3 * 4 * float64(weights)}}
	if o.Method != "predict" && o.Method != "supervised" {
		rows := float64(n) * float64(len(v.names))
		if o.Method == "moco" {
			rows = float64(o.Loss.K)
		}
		parts = append(parts, need{fmt.Sprintf("--nce_k %d with --batch_size %d", o.Loss.K, o.Optim.BatchSize), 8 * float64(o.Optim.BatchSize) * (float64(o.Loss.K) + 1)},
			need{fmt.Sprintf("--feat_dim %d with a bank of %.0f rows", o.Net.FeatDim, rows), 4 * rows * float64(o.Net.FeatDim)})
	}
	return inMemory(parts...)
}

// availableMemory is what the system says is free, in bytes; 0 when it does not say.
func availableMemory() float64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(text), "\n") {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemAvailable:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb * 1024
		}
	}
	return 0
}
