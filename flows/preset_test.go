package flows

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Every built-in preset names flags of its method and gives values that pass every check.
func TestPresets(t *testing.T) {
	for _, name := range PresetNames() {
		p, err := LoadPreset(name)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		o := Options{Method: p.Method}
		fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
		Bind(fs, &o)
		if _, err := p.Apply(fs, p.Method); err != nil {
			t.Errorf("%v", err)
		}
		if err := Validate(o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := modelOf(o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if p.About == "" || p.Source == "" {
			t.Errorf("%s does not say what it is and where it is from", name)
		}
	}
}

// The accuracies on ImageNet-100 that the presets tell of come from the original's README, whose commands name four GPUs and leave
// schedule and crops to the defaults that its scripts had before image mixture.
func TestPresetsOfTheTable(t *testing.T) {
	for _, name := range []string{"cmc-resnet50v1-imagenet100", "insdis-imagenet100", "moco-imagenet100"} {
		p, err := LoadPreset(name)
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Method: p.Method}
		fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
		Bind(fs, &o)
		if _, err := p.Apply(fs, p.Method); err != nil {
			t.Fatal(err)
		}
		if o.Optim.Epochs != 240 || fmt.Sprint(o.Optim.DecayEpochs) != "[120 160 200]" || o.Data.CropLow != 0.2 || o.Net.BNGroups != 4 {
			t.Errorf("%s: %d epochs, decay after %v, crops from %v, %d batch-norm groups", name, o.Optim.Epochs, o.Optim.DecayEpochs, o.Data.CropLow, o.Net.BNGroups)
		}
	}
}

// The command line wins over a preset, and run.json tells who set what.
func TestPresetOrigins(t *testing.T) {
	o := Options{Method: "moco"}
	fs := pflag.NewFlagSet("moco", pflag.ContinueOnError)
	Bind(fs, &o)
	if err := fs.Parse([]string{"--nce_k", "64", "--num_workers", "3"}); err != nil {
		t.Fatal(err)
	}
	p, err := LoadPreset("moco-cifar10")
	if err != nil {
		t.Fatal(err)
	}
	set, err := p.Apply(fs, "moco")
	if err != nil {
		t.Fatal(err)
	}
	if o.Loss.K != 64 || o.Optim.BatchSize != 512 {
		t.Errorf("nce_k %d, batch_size %d: want 64 of the command line and 512 of the preset", o.Loss.K, o.Optim.BatchSize)
	}
	s := Settings(fs, "moco", p.Name, set)
	for flag, want := range map[string]Setting{
		"nce_k": {"64", "command line"}, "batch_size": {"512", "preset moco-cifar10"}, "momentum": {"0.9", "default (reference)"}, "workers": {"3", "command line"},
	} {
		if s[flag] != want {
			t.Errorf("%s: %v, want %v", flag, s[flag], want)
		}
	}
	workers := Preset{Method: "moco", Flags: []PresetFlag{{Name: "workers", Value: "5"}}}
	if set, err := workers.Apply(fs, "moco"); err != nil || len(set) > 0 || o.Data.Workers != 3 {
		t.Errorf("a preset's workers beside --num_workers 3: %d, set %v, %v", o.Data.Workers, set, err)
	}
	if _, err := p.Apply(fs, "cmc"); err == nil || !strings.Contains(err.Error(), "train moco") {
		t.Errorf("a preset of another method: %v", err)
	}
}

// Mistakes in a preset file are told with line and column.
func TestPresetMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"about: x\nmethod: moco\nflags:\n  nce_kk: 3\n":     "p.yaml:4:3: train moco has no flag \"nce_kk\"",
		"about: x\nmethod: moco\nflag:\n  nce_k: 3\n":       "line 3, column 1: unknown field \"flag\": want about, source, method or flags",
		"about: x\nmethod: moco\nflags:\n  nce_k: many\n":   "p.yaml:4:3: --nce_k \"many\": want a whole number",
		"about: x\nflags:\n  nce_k: 3\n":                    "p.yaml: method \"\": choose one of cmc, moco",
		"method: magic\nflags:\n  nce_k: 3\n":               "method \"magic\"",
		"about: x\nmethod: moco\nflags:\n  crop_low: 0.5\n": "has no flag \"crop_low\"",
		"about: x\nmethod: moco\n":                          "no flags",
	} {
		path := filepath.Join(t.TempDir(), "p.yaml")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		p, err := LoadPreset(path)
		if err == nil {
			o := Options{Method: "moco"}
			fs := pflag.NewFlagSet("moco", pflag.ContinueOnError)
			Bind(fs, &o)
			_, err = p.Apply(fs, "moco")
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := LoadPreset("nothing"); err == nil || !strings.Contains(err.Error(), "moco-cifar10") {
		t.Errorf("an unknown name must list the known: %v", err)
	}
}
