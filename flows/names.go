package flows

import (
	"math"
	"strconv"
	"strings"
)

// RunName is the name of a run's folder: the one given, or what the reference makes of its flags.
func RunName(o Options) string {
	if o.Run.Name != "" {
		return o.Run.Name
	}
	loss := "nce"
	if o.Loss.Softmax {
		loss = "softmax"
	}
	common := loss + "_" + strconv.Itoa(o.Loss.K) + "_" + o.Net.Model + "_lr_" + pyFloat(o.Optim.LR) +
		"_decay_" + pyFloat(o.Optim.WeightDecay) + "_bsz_" + strconv.Itoa(o.Optim.BatchSize)
	var name string
	switch o.Method {
	case "cmc":
		name = "memory_" + common + "_view_" + o.Data.View
	case "moco":
		name = "MoCo" + pyFloat(o.Net.Alpha) + "_" + common + "_crop_" + pyFloat(o.Data.CropLow) + "_aug_" + o.Data.Aug
	default:
		name = "InsDis_" + common + "_crop_" + pyFloat(o.Data.CropLow) + "_aug_" + o.Data.Aug
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
