package flows

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/contraflow/contraflow/encoders"
)

// probeFlag is one row of the probe's table of flags, as flag is of the training commands'.
type probeFlag struct {
	name, group, help, origin, def string
	aliases, choices               []string
	value                          func(o *ProbeOptions) any
}

// probeFlags lists every flag of contraflow probe, in the order of its help: those of both of the reference's scripts with
// their defaults, and ours.
func probeFlags() []probeFlag {
	return []probeFlag{
		{name: "model_path", group: "Encoder", help: "the trained encoder: run folder, checkpoint, .pth, .safetensors or .npz", origin: ref, value: func(o *ProbeOptions) any { return &o.ModelPath }},
		{name: "model", group: "Encoder", help: "network; empty takes what the file says, another is refused", origin: ours, value: func(o *ProbeOptions) any { return &o.Model }},
		{name: "layer", group: "Encoder", help: "layer to judge; 0 is 5 for AlexNet, 6 for ResNets", origin: ref, def: "0", value: func(o *ProbeOptions) any { return &o.Layer }},
		{name: "pool", group: "Encoder", help: "pooling of feature maps; empty is max for AlexNet, avg for ResNets", origin: ref, choices: []string{"", "max", "avg"}, value: func(o *ProbeOptions) any { return &o.Pool }},
		{name: "towers", group: "Encoder", help: "towers whose features are joined, such as 0 or 0,1; empty is all", origin: ours, value: func(o *ProbeOptions) any { return (*intList)(&o.Towers) }},

		{name: "data_folder", group: "Data", help: "images, as train takes them, of train and val", origin: ref, value: func(o *ProbeOptions) any { return &o.DataFolder }},
		{name: "class_list", group: "Data", help: "file of class names, one a line, to take no others; empty takes that of training", origin: ours, value: func(o *ProbeOptions) any { return &o.ClassList }},
		{name: "dataset", group: "Data", help: "only the reference's crop rule: imagenet and no AlexNet sets the lower bound to 0.08; empty is imagenet for CMC, else imagenet100", origin: ref, choices: []string{"", "imagenet", "imagenet100"}, value: func(o *ProbeOptions) any { return &o.Dataset }},
		{name: "view", group: "Data", help: "colour space; empty takes what the file says, or Lab where it says nothing; another than the file's is refused", origin: ours, value: func(o *ProbeOptions) any { return &o.View }},
		{name: "image_size", group: "Data", help: "side of the crops; 0 is that of training", origin: ours, def: "0", value: func(o *ProbeOptions) any { return &o.ImageSize }},
		{name: "crop_low", group: "Data", aliases: []string{"crop"}, help: "lower bound of a crop's share of the area, in (0,1]", origin: ref, def: "0.2", value: func(o *ProbeOptions) any { return &o.CropLow }},
		{name: "crop_rule", group: "Data", help: "generation of RandomResizedCrop", origin: ours, def: "torchvision-0.3", choices: []string{"torchvision-0.3", "torchvision-0.2"}, value: func(o *ProbeOptions) any { return &o.CropRule }},
		{name: "aug", group: "Data", help: "of encoders of colour images: NULL crops and flips, CJ adds grayscale and colour jitter", origin: ref, def: "CJ", choices: []string{"NULL", "CJ"}, value: func(o *ProbeOptions) any { return &o.Aug }},
		{name: "augment", group: "Data", help: "train on random crops; --augment=false takes the evaluation crop", origin: ours, def: "true", value: func(o *ProbeOptions) any { return &o.Augment }},
		{name: "cache_features", group: "Data", help: "compute every feature once, into a memory-mapped file beside the results; needs --augment=false", origin: ours, def: "false", value: func(o *ProbeOptions) any { return &o.Cache }},
		{name: "decoder", group: "Data", help: "JPEG decoder", origin: ours, def: "auto", choices: []string{"auto", "turbo", "go"}, value: func(o *ProbeOptions) any { return &o.Decoder }},
		{name: "bad_samples", group: "Data", help: "largest share of unreadable images, which are left out; more end the run", origin: ours, def: "0.001", value: func(o *ProbeOptions) any { return &o.BadSamples }},
		{name: "workers", group: "Data", aliases: []string{"num_workers"}, help: "decode workers; 0 takes half the cores", origin: ours, def: "0", value: func(o *ProbeOptions) any { return &o.Workers }},

		{name: "device", group: "Compute", help: "where the encoders run: auto, cpu, cuda or cuda:N", origin: ours, def: "auto", value: func(o *ProbeOptions) any { return &o.Device }},
		{name: "threads", group: "Compute", help: "compute threads of all replicas together; 0 is one a core", origin: ours, def: "0", value: func(o *ProbeOptions) any { return &o.Threads }},
		{name: "replicas", group: "Compute", help: "data-parallel copies in this process; any number gives the same result, but for --feature_bn without --sync_bn", origin: ours, def: "1", value: func(o *ProbeOptions) any { return &o.Replicas }},
		{name: "feature_bn", group: "Compute", help: "batch normalisation of the features without parameters, with the statistics of each replica", origin: ours, def: "false", value: func(o *ProbeOptions) any { return &o.FeatureBN }},
		{name: "sync_bn", group: "Compute", aliases: []string{"syncBN"}, help: "with --feature_bn: statistics over all replicas", origin: ours, def: "false", value: func(o *ProbeOptions) any { return &o.SyncBN }},

		{name: "batch_size", group: "Optimiser", help: "images a step", origin: ref, def: "256", value: func(o *ProbeOptions) any { return &o.BatchSize }},
		{name: "epochs", group: "Optimiser", help: "passes over the data", origin: ref, def: "60", value: func(o *ProbeOptions) any { return &o.Epochs }},
		{name: "learning_rate", group: "Optimiser", help: "the reference takes 0.1 for AlexNet, 10 to 50 for ResNets", origin: ref, def: "0.1", value: func(o *ProbeOptions) any { return &o.LR }},
		{name: "lr_decay_epochs", group: "Optimiser", help: "epochs after which the rate falls", origin: ref, def: "30,40,50", value: func(o *ProbeOptions) any { return (*intList)(&o.DecayEpochs) }},
		{name: "lr_decay_rate", group: "Optimiser", help: "factor by which it falls", origin: ref, def: "0.2", value: func(o *ProbeOptions) any { return &o.DecayRate }},
		{name: "cosine", group: "Optimiser", help: "half a cosine instead of steps", origin: ref, def: "false", value: func(o *ProbeOptions) any { return &o.Cosine }},
		{name: "adam", group: "Optimiser", help: "Adam instead of SGD", origin: ref, def: "false", value: func(o *ProbeOptions) any { return &o.Adam }},
		{name: "momentum", group: "Optimiser", help: "of SGD", origin: ref, def: "0.9", value: func(o *ProbeOptions) any { return &o.Momentum }},
		{name: "beta1", group: "Optimiser", help: "of Adam's first moment", origin: ref, def: "0.5", value: func(o *ProbeOptions) any { return &o.Beta1 }},
		{name: "beta2", group: "Optimiser", help: "of Adam's second moment", origin: ref, def: "0.999", value: func(o *ProbeOptions) any { return &o.Beta2 }},
		{name: "weight_decay", group: "Optimiser", help: "L2", origin: ref, def: "0", value: func(o *ProbeOptions) any { return &o.WeightDecay }},

		{name: "save_path", group: "Run", help: "folder of the probes' folders", origin: ours, def: "./save_probes", value: func(o *ProbeOptions) any { return &o.SavePath }},
		{name: "tb_path", group: "Run", help: "folder of TensorBoard events; empty writes none", origin: ours, def: "./save_tb", value: func(o *ProbeOptions) any { return &o.TBPath }},
		{name: "run_name", group: "Run", help: "name of the folder; empty makes the reference's from the options", origin: ours, value: func(o *ProbeOptions) any { return &o.Name }},
		{name: "legacy_names", group: "Run", help: "name the folder exactly as the reference does: without the layer", origin: ours, def: "false", value: func(o *ProbeOptions) any { return &o.Legacy }},
		{name: "print_freq", group: "Run", help: "print a line every so many steps; 0 prints one an epoch", origin: ref, def: "10", value: func(o *ProbeOptions) any { return &o.PrintFreq }},
		{name: "save_freq", group: "Run", help: "epochs between checkpoints; 0 saves the best and the last only", origin: ref, def: "5", value: func(o *ProbeOptions) any { return &o.SaveFreq }},
		{name: "save_steps", group: "Run", help: "steps between checkpoints; 0 is never", origin: ours, def: "0", value: func(o *ProbeOptions) any { return &o.SaveSteps }},
		{name: "keep", group: "Run", help: "newest checkpoint folders kept; 0 keeps all", origin: ours, def: "2", value: func(o *ProbeOptions) any { return &o.Keep }},
		{name: "resume", group: "Run", help: `checkpoint to go on from; "auto" is the newest of the folder, if any`, origin: ref, value: func(o *ProbeOptions) any { return &o.Resume }},
		{name: "force", group: "Run", help: "resume although options differ that change the result", origin: ours, def: "false", value: func(o *ProbeOptions) any { return &o.Force }},
		{name: "seed", group: "Run", help: "of every random draw", origin: ours, def: "1", value: func(o *ProbeOptions) any { return &o.Seed }},
		{name: "max_steps", group: "Run", help: "stop after so many steps; 0 is all epochs", origin: ours, def: "0", value: func(o *ProbeOptions) any { return &o.MaxSteps }},
		{name: "quiet", group: "Run", help: "print nothing but errors and the result", origin: ours, def: "false", value: func(o *ProbeOptions) any { return &o.Quiet }},
		{name: "bn", group: "Run", help: "accepted: names the folder, as in the original, which normalises nothing; see --feature_bn", origin: ref, def: "false", value: func(o *ProbeOptions) any { return &o.UseBN }},
		{name: "warm", group: "Run", help: "accepted: has no effect, as in the original", origin: ref, def: "false", value: func(o *ProbeOptions) any { return &o.Warm }},
		{name: "amp", group: "Run", help: "accepted: names the folder", origin: ref, def: "false", value: func(o *ProbeOptions) any { return &o.AMP }},
		{name: "opt_level", group: "Run", help: "accepted: names the folder, with --amp", origin: ref, def: "O2", choices: []string{"O1", "O2"}, value: func(o *ProbeOptions) any { return &o.OptLevel }},
	}
}

// probeHarmless are flags that change neither a result nor which result it is.
var probeHarmless = map[string]bool{
	"data_folder": true, "decoder": true, "bad_samples": true, "workers": true, "device": true, "threads": true, "replicas": true,
	"cache_features": true, "save_path": true, "tb_path": true, "run_name": true, "legacy_names": true, "print_freq": true, "save_freq": true,
	"save_steps": true, "keep": true, "resume": true, "force": true, "max_steps": true, "quiet": true, "bn": true, "warm": true, "amp": true,
	"opt_level": true, "model_path": true, "dataset": true,
}

// BindProbe adds the probe's flags to a flag set, with their defaults in o.
func BindProbe(fs *pflag.FlagSet, o *ProbeOptions) {
	for _, f := range probeFlags() {
		usage := fmt.Sprintf("%s (%s)", f.help, f.origin)
		if len(f.choices) > 0 {
			usage = fmt.Sprintf("%s: %s (%s)", f.help, strings.Join(strings.Fields(strings.Join(f.choices, " ")), ", "), f.origin)
		}
		for i, name := range append([]string{f.name}, f.aliases...) {
			v := valueOf(f.value(o))
			if err := v.Set(f.def); err != nil && f.def != "" {
				panic(fmt.Sprintf("flows: default of --%s: %v", f.name, err))
			}
			if len(f.choices) > 0 {
				v = choice{v, f.choices}
			}
			added := fs.VarPF(v, name, "", usage)
			added.DefValue, added.Hidden = f.def, i > 0
			if v.Type() == "bool" {
				added.NoOptDefVal = "true"
			}
			added.Annotations = map[string][]string{"group": {f.group}}
		}
	}
	for name, kind := range map[string]string{"tb_freq": "int", "gpu": "int", "log": "string"} {
		bindIgnored(fs, name, kind)
	}
}

// DefaultProbe are the options of a probe without any flag.
func DefaultProbe() ProbeOptions {
	var o ProbeOptions
	BindProbe(pflag.NewFlagSet("probe", pflag.ContinueOnError), &o)
	return o
}

// ProbeWarnings names what was given and has no effect.
func ProbeWarnings(fs *pflag.FlagSet) (out []string) {
	fs.Visit(func(f *pflag.Flag) {
		if _, ok := f.Value.(*discard); ok {
			out = append(out, noEffect(f.Name))
		}
		switch f.Name {
		case "sync_bn", "syncBN":
			if fs.Lookup("feature_bn").Value.String() != "true" {
				out = append(out, fmt.Sprintf("--%s has no effect without --feature_bn: encoders are frozen, there is no other batch normalisation", f.Name))
			}
		case "bn":
			out = append(out, "--bn only names the folder, as in the original: --feature_bn normalises the features")
		case "warm":
			out = append(out, "--warm has no effect: the original has no warm-up")
		case "amp", "opt_level":
			out = append(out, fmt.Sprintf("--%s only names the folder: the cpu device computes in float32", f.Name))
		}
	})
	return out
}

// resolve fills in what depends on the encoder, and refuses what contradicts it.
func (o *ProbeOptions) resolve(e *Encoder) error {
	m := e.Model
	if o.Model != "" {
		asked, err := encoders.Lookup(o.Model, e.Options.Net.FeatDim)
		if err != nil {
			return fmt.Errorf("--model: %w", err)
		}
		if asked.Name != m.Name {
			return fmt.Errorf("--model %s: %s holds the encoder of %s: leave --model out, or give the checkpoint that belongs to it", o.Model, o.ModelPath, m.Name)
		}
	}
	o.Model = m.Name
	if m.Multi {
		o.View, o.Aug = e.Options.Data.View, "NULL"
	} else {
		o.View = "RGB"
	}
	if o.Layer == 0 {
		o.Layer = m.ProbeLayer
	}
	if err := hasLayer(m, o.Layer); err != nil {
		return err
	}
	if o.Dataset == "" {
		o.Dataset = map[bool]string{true: "imagenet", false: "imagenet100"}[m.Multi]
	}
	if o.Dataset == "imagenet" && m.Name != "alexnet" {
		o.CropLow = 0.08
	}
	o.ImageSize = e.Options.Data.ImageSize
	return nil
}

// hasLayer refuses a layer that a model lacks.
func hasLayer(m encoders.Model, layer int) error {
	if n := m.Net.Layers(); layer > n {
		return fmt.Errorf("--layer %d: %s has layers 1 to %d, the last being the embedding: the reference judges layer %d", layer, m.Name, n, m.ProbeLayer)
	}
	return nil
}

// probeChanges lists the flags that differ between the probe that wrote a checkpoint and the one that goes on, and change
// its result.
func probeChanges(saved, now ProbeOptions) (out []string) {
	for _, f := range probeFlags() {
		if probeHarmless[f.name] || f.name == "epochs" && !now.Cosine {
			continue
		}
		if f.name == "sync_bn" && !now.FeatureBN {
			continue
		}
		if a, b := valueOf(f.value(&saved)).String(), valueOf(f.value(&now)).String(); a != b {
			out = append(out, fmt.Sprintf("--%s was %s, is %s", f.name, a, b))
		}
	}
	return out
}

// ProbeSettings lists every flag of a parsed set with its value in the resolved options and where that comes from.
func ProbeSettings(fs *pflag.FlagSet, o ProbeOptions) map[string]Setting {
	out := map[string]Setting{}
	for _, f := range probeFlags() {
		s := Setting{Value: valueOf(f.value(&o)).String(), Origin: "default (" + f.origin + ")"}
		if changed(fs, f.name, f.aliases) {
			s.Origin = "command line"
		}
		if s.Value != fs.Lookup(f.name).Value.String() {
			s.Origin = "encoder"
			if f.name == "crop_low" {
				s.Origin = cropRule
			}
		}
		out[f.name] = s
	}
	return out
}
