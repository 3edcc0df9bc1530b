package flows

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/contraflow/contraflow/encoders"
)

// counted is a number of things in words: "1 class", "2 classes".
func counted(n int, thing string) string {
	switch {
	case n == 1:
		return "1 " + thing
	case strings.HasSuffix(thing, "s"), strings.HasSuffix(thing, "ch"):
		thing += "e"
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// RunName is the name of a run's folder: the one given, or what the reference makes of its flags.
func RunName(o Options) string {
	if o.Run.Name != "" {
		return o.Run.Name
	}
	loss := "nce"
	if o.Loss.Softmax {
		loss = "softmax"
	}
	optim := encoders.Canonical(o.Net.Model) + "_lr_" + pyFloat(o.Optim.LR) + "_decay_" + pyFloat(o.Optim.WeightDecay) + "_bsz_" + strconv.Itoa(o.Optim.BatchSize)
	common := loss + "_" + strconv.Itoa(o.Loss.K) + "_" + optim
	var name string
	switch o.Method {
	case "cmc":
		name = "memory_" + common + amp(o) + "_view_" + o.Data.View + dirsName(o)
	case "moco":
		name = "MoCo" + pyFloat(o.Net.Alpha) + "_" + common + insSuffix(o)
	case "predict":
		name = "predict_" + o.Loss.Predict + "_" + optim + viewSuffix(o)
	case "supervised":
		name = "supervised_" + optim + viewSuffix(o)
	default:
		name = "InsDis_" + common + insSuffix(o)
	}
	if o.Mix.On && !o.Run.Legacy {
		name += mixName(o.Mix)
	}
	return name
}

// checkName refuses a --run_name that is no name of a folder in the folder of runs: a second run would move what it names.
func checkName(name string) error {
	if name == "" || name != "." && filepath.IsLocal(name) && !strings.ContainsAny(name, `/\`) {
		return nil
	}
	return fmt.Errorf("--run_name %q: want a folder's name without a path: --model_path, or --save_path of a probe, says where it lies", name)
}

// viewSuffix tells runs of the baselines apart by what their encoders see.
func viewSuffix(o Options) string {
	name := "_view_" + o.Data.View
	if o.Data.Views != "" {
		name += "_" + strings.NewReplacer("|", "-", ",", "", " ", "").Replace(o.Data.Views)
	}
	return name + dirsName(o) + amp(o)
}

// dirsName tells runs with views beside the images apart, which the reference does not have.
func dirsName(o Options) string {
	if o.Data.ViewDirs == "" {
		return ""
	}
	name := "_with"
	for _, d := range strings.Split(o.Data.ViewDirs, ",") {
		d, _, _ = strings.Cut(d, ":")
		name += "_" + filepath.Base(strings.TrimSpace(d))
	}
	if o.Loss.Graph == "core" {
		name += "_core"
	}
	return name
}

func amp(o Options) string {
	if !o.Net.AMP {
		return ""
	}
	return "_amp_" + o.Net.OptLevel
}

func insSuffix(o Options) string {
	name := "_crop_" + pyFloat(o.Data.CropLow)
	if o.Optim.Warm {
		name += "_warm"
	}
	return name + amp(o) + "_aug_" + o.Data.Aug
}

// mixName tells runs with different mixtures apart; the reference's names do not.
func mixName(m MixOptions) string {
	global := "_g_" + pyFloat(m.GAlpha) + "_" + strconv.Itoa(m.GNum) + "_" + pyFloat(m.GProb)
	region := "_r_" + pyFloat(m.RBeta) + "_" + strconv.Itoa(m.RNum) + "_" + pyFloat(m.RProb) + "_" + pyFloat(m.RDecay)
	name := "_" + m.Type
	switch m.Type {
	case "IM":
		name += global + region
	case "global":
		name += global
	case "region":
		name += region
	case "Cutout":
		name += "_" + pyFloat(m.MaskSize) + "_" + pyFloat(m.CutoutP) + unusual(m)
	case "RandomErasing":
		name += "_" + pyFloat(m.EraseP) + unusual(m)
	case "unmix":
		name += "_" + pyFloat(m.UnmixBeta) + "_" + pyFloat(m.UnmixProb)
	}
	if m.Partner == "batch" {
		name += "_batch"
	}
	return name
}

// unusual names what Cutout and RandomErasing have instead of their defaults.
func unusual(m MixOptions) (name string) {
	usual := Defaults("cmc").Mix
	for _, part := range []struct {
		of   string
		on   bool
		text string
	}{
		{"Cutout", m.CutoutInside, "_inside"},
		{"Cutout", m.MaskColor != usual.MaskColor, "_color_" + strconv.Itoa(m.MaskColor)},
		{"RandomErasing", !slices.Equal(m.AreaRange, usual.AreaRange), "_area_" + strings.ReplaceAll((*floatList)(&m.AreaRange).String(), ",", "-")},
		{"RandomErasing", m.MinAspect != usual.MinAspect, "_aspect_" + pyFloat(m.MinAspect)},
		{"RandomErasing", m.MaxAttempt != usual.MaxAttempt, "_attempts_" + strconv.Itoa(m.MaxAttempt)},
	} {
		if part.of == m.Type && part.on {
			name += part.text
		}
	}
	return name
}

// pyFloat prints a float as Python's str does.
func pyFloat(v float64) string {
	a := math.Abs(v)
	if a != 0 && (a < 1e-4 || a >= 1e16) {
		s := strconv.FormatFloat(v, 'e', -1, 64)
		mantissa, exp, _ := strings.Cut(s, "e")
		return mantissa + "e" + exp
	}
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
