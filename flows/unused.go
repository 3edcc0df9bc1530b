package flows

import (
	"fmt"
	"slices"

	"github.com/spf13/pflag"
)

// mixtureFlags are the flags that every --IM_type reads.
var mixtureFlags = func() map[string][]string {
	global, region := []string{"mix_partner", "g_alpha", "g_num", "g_prob"}, []string{"mix_partner", "r_beta", "r_prob", "r_num", "r_pixel_decay"}
	return map[string][]string{
		"IM": slices.Concat(global, region), "global": global, "region": region,
		"Cutout":        {"mask_size", "cutout_p", "cutout_inside", "mask_color"},
		"RandomErasing": {"random_erasing_prob", "area_ratio_range", "min_aspect_ratio", "max_attempt"},
		"unmix":         {"unmix_prob", "unmix_beta"},
	}
}()

// unused is the warning about a flag that was given and that the others leave without effect, or "".
func unused(f *pflag.Flag, o *Options) string {
	has := func(why string) string { return fmt.Sprintf("--%s has no effect %s", f.Name, why) }
	mixture := slices.Contains(f.Annotations["group"], "Mixture") && f.Name != "IM"
	switch {
	case mixture && !o.Mix.On:
		return has("without --IM")
	case mixture && f.Name != "IM_type" && !slices.Contains(mixtureFlags[o.Mix.Type], f.Name):
		return has("with --IM_type " + o.Mix.Type)
	case f.Name == "opt_level" && !o.Net.AMP:
		return has("without --amp")
	case f.Name == "nce_z_ema" && o.Loss.Softmax:
		return has("with --softmax, which has no constant")
	case f.Name == "split" && o.Method == "supervised" && o.Data.Split != "train":
		return has("on train supervised, which takes the labelled images of train")
	case f.Name == "cpu_budget" && !o.Data.Autotune:
		return has("without --autotune")
	}
	return ""
}
