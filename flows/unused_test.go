package flows_test

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/contraflow/contraflow/flows"
)

// A flag that others leave without effect is named, once; one that counts is not.
func TestUnusedFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--g_prob 0.5 --IM_type global":                           "--g_prob has no effect without --IM\n--IM_type has no effect without --IM",
		"--IM --g_prob 0.5 --r_num 3 --mix_partner batch":         "",
		"--IM --IM_type global --r_num 3":                         "--r_num has no effect with --IM_type global",
		"--IM --IM_type Cutout --mix_partner batch --mask_size 9": "--mix_partner has no effect with --IM_type Cutout",
		"--IM --IM_type RandomErasing --max_attempt 9":            "",
		"--IM --IM_type unmix --unmix_prob 1 --g_num 1":           "--g_num has no effect with --IM_type unmix",
		"--softmax --nce_z_ema 0.9":                               "--nce_z_ema has no effect with --softmax, which has no constant",
		"--nce_z_ema 0.9":                                         "",
		"--cpu_budget 0.3":                                        "--cpu_budget has no effect without --autotune",
		"--opt_level O1":                                          "--opt_level has no effect without --amp",
	} {
		if got := warned(t, "moco", args); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
	for method, want := range map[string]string{"supervised": "--split has no effect on train supervised, which takes the labelled images of train", "predict": ""} {
		for _, split := range []string{"train+unlabeled", "train"} {
			if split == "train" {
				want = ""
			}
			if got := warned(t, method, "--dataset imagenet100 --split "+split); got != want {
				t.Errorf("train %s --split %s: %q, want %q", method, split, got, want)
			}
		}
	}
}

// warned are the warnings about a method's flags, a line each.
func warned(t *testing.T, method, args string) string {
	t.Helper()
	o := flows.Options{Method: method}
	fs := pflag.NewFlagSet(method, pflag.ContinueOnError)
	flows.Bind(fs, &o)
	fs.SortFlags = false
	if err := fs.Parse(strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
	return strings.Join(flows.Warnings(fs, &o), "\n")
}
