package flows_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/ops/cpu"
)

// The crop rule of the reference is told, and run.json has what the probe does, not what the flags said.
func TestProbeSettings(t *testing.T) {
	data, dir := encoderRun(t, "cmc")
	var o flows.ProbeOptions
	fs := pflag.NewFlagSet("probe", pflag.ContinueOnError)
	flows.BindProbe(fs, &o)
	if err := fs.Parse([]string{"--model_path", dir, "--data_folder", data, "--crop_low", "0.3", "--save_path", t.TempDir(), "--tb_path", "", "--decoder", "go"}); err != nil {
		t.Fatal(err)
	}
	r, err := flows.PrepareProbe(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "0.08, not 0.3") {
		t.Errorf("warnings %q", r.Warnings)
	}
	s := flows.ProbeSettings(fs, r.Options())
	for flag, want := range map[string]flows.Setting{
		"crop_low": {"0.08", "crop rule of the reference"}, "model": {"resnet18v1", "encoder"}, "layer": {"6", "encoder"}, "image_size": {"32", "encoder"},
		"decoder": {"go", "command line"}, "epochs": {"60", "default (reference)"},
	} {
		if s[flag] != want {
			t.Errorf("%s: %v, want %v", flag, s[flag], want)
		}
	}
}

// Training tells of the crop rule too.
func TestCropRuleSettings(t *testing.T) {
	o := flows.Options{Method: "moco"}
	fs := pflag.NewFlagSet("moco", pflag.ContinueOnError)
	flows.Bind(fs, &o)
	if err := fs.Parse([]string{"--dataset", "imagenet", "--crop", "0.3"}); err != nil {
		t.Fatal(err)
	}
	if w := flows.Warnings(fs, &o); len(w) != 1 || !strings.Contains(w[0], "0.08, not 0.3") {
		t.Errorf("warnings %q", w)
	}
	if s, want := flows.Settings(fs, "moco", "", nil)["crop"], (flows.Setting{Value: "0.08", Origin: "crop rule of the reference"}); s != want {
		t.Errorf("%v, want %v", s, want)
	}
}

// The original's scripts take --syncBN and do nothing with it.
func TestProbeSyncBN(t *testing.T) {
	for args, want := range map[string]string{"--syncBN": "--syncBN has no effect without --feature_bn", "--syncBN --feature_bn": ""} {
		var o flows.ProbeOptions
		fs := pflag.NewFlagSet("probe", pflag.ContinueOnError)
		flows.BindProbe(fs, &o)
		if err := fs.Parse(append(strings.Fields(args), "--model_path", "a", "--data_folder", "b")); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(flows.ProbeWarnings(fs), "\n")
		if err := flows.ValidateProbe(o); err != nil || !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%s: %v, warnings %q, want %q", args, err, got, want)
		}
	}
}

// The original puts contrast and criterion on --gpu: whoever gives it is told what chooses the device here.
func TestGPUFlag(t *testing.T) {
	o, p := flows.Options{Method: "moco"}, flows.ProbeOptions{}
	train, judge := pflag.NewFlagSet("moco", pflag.ContinueOnError), pflag.NewFlagSet("probe", pflag.ContinueOnError)
	flows.Bind(train, &o)
	flows.BindProbe(judge, &p)
	if err := errors.Join(train.Parse([]string{"--gpu", "1"}), judge.Parse([]string{"--gpu", "1"})); err != nil {
		t.Fatal(err)
	}
	for _, w := range [][]string{flows.Warnings(train, &o), flows.ProbeWarnings(judge)} {
		if len(w) != 1 || !strings.Contains(w[0], "--device cuda:N") {
			t.Errorf("warnings %q", w)
		}
	}
}

// The original's one script for both methods takes what only one of them reads.
func TestFlagsOfTheOtherMethod(t *testing.T) {
	for method, flag := range map[string]string{"moco": "--nce_m", "insdis": "--alpha"} {
		o := flows.Options{Method: method}
		fs := pflag.NewFlagSet(method, pflag.ContinueOnError)
		flows.Bind(fs, &o)
		if err := fs.Parse([]string{flag, "0.4"}); err != nil {
			t.Errorf("train %s: %v", method, err)
		}
		if w := flows.Warnings(fs, &o); len(w) != 1 || !strings.Contains(w[0], flag+" has no effect on train "+method) {
			t.Errorf("train %s: warnings %q", method, w)
		}
	}
}

// --amp without a GPU is told of only where the processor cannot either.
func TestAMPOnProcessor(t *testing.T) {
	for _, isa := range []string{"generic", "avx2", "neon"} {
		t.Setenv("CONTRAFLOW_ISA", isa)
		if d, err := cpu.New(1); err != nil {
			continue // other machines have it
		} else if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		o := flows.Options{Method: "moco"}
		fs := pflag.NewFlagSet("moco", pflag.ContinueOnError)
		flows.Bind(fs, &o)
		if err := fs.Parse([]string{"--amp", "--device", "cpu"}); err != nil {
			t.Fatal(err)
		}
		w := strings.Join(flows.Warnings(fs, &o), "\n")
		if told := strings.Contains(w, "no instructions for bfloat16"); told != (isa != "generic") || told != (w != "") {
			t.Errorf("%s: warnings %q", isa, w)
		}
	}
}

// A colour space has one spelling in names and checkpoints, however it was given.
func TestSpellingOfView(t *testing.T) {
	o := flows.Options{Method: "cmc"}
	fs := pflag.NewFlagSet("cmc", pflag.ContinueOnError)
	flows.Bind(fs, &o)
	if err := fs.Parse([]string{"--view", "ycbcr"}); err != nil {
		t.Fatal(err)
	}
	flows.Warnings(fs, &o)
	if name := flows.RunName(o); !strings.HasSuffix(name, "_view_YCbCr") {
		t.Errorf("the folder is %s", name)
	}
	if s := flows.Settings(fs, "cmc", "", nil)["view"]; s.Value != "YCbCr" || s.Origin != "command line" {
		t.Errorf("run.json has %v", s)
	}
}

// The names of the reference's probes, whose default weight decay is an integer.
func TestProbeNames(t *testing.T) {
	m, err := encoders.Lookup("alexnet", 128)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		legacy, given bool
		decay         float64
		want          string
	}{
		{true, false, 0, "calibrated_run_bsz_256_lr_0.1_decay_0_view_Lab"},
		{true, true, 0, "calibrated_run_bsz_256_lr_0.1_decay_0.0_view_Lab"},
		{true, true, 1e-5, "calibrated_run_bsz_256_lr_0.1_decay_1e-05_view_Lab"},
		{false, true, 0, "calibrated_run_bsz_256_lr_0.1_decay_0_view_Lab_layer5"},
	} {
		o := flows.DefaultProbe()
		o.ModelPath, o.View, o.Layer, o.Legacy, o.DecayGiven, o.WeightDecay = "run/x.pth", "Lab", 5, c.legacy, c.given, c.decay
		if got := flows.ProbeName(o, m); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
