package flows

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/ops/cpu"
	"github.com/contraflow/contraflow/ops/pixel"
)

// flag is one row of the table from which the command line, its help, the defaults and run.json are derived.
type flag struct {
	name    string
	group   string
	help    string
	origin  string // where the default comes from
	only    string // method it belongs to; empty means all
	aliases []string
	value   func(o *Options) any // pointer to a field, or a pflag.Value
	// def is the default as text; per method where it differs.
	def     string
	defs    map[string]string
	choices []string
}

const (
	ref  = "reference"
	ours = "contraflow"

	contrasts = "cmc moco insdis" // methods with negatives
)

// methods are what contraflow train trains by.
var methods = []string{"cmc", "moco", "insdis", "predict", "supervised"}

// flagTable lists every flag of the training commands, in the order of the help.
func flagTable() []flag {
	return []flag{
		{name: "data_folder", group: "Data", help: "images: a folder with train/<class>/<files> and, for judging, val/; tar shards there or at a URL; STL-10 or CIFAR binaries; parquet files (docs/data.md)", origin: ref, value: func(o *Options) any { return &o.Data.Folder }},
		{name: "split", group: "Data", help: "images to train on: train, or STL-10's unlabeled or train+unlabeled; empty is train", origin: ours, value: func(o *Options) any { return &o.Data.Split }},
		{name: "class_list", group: "Data", help: "only these classes: imagenet100, or a file with one name a line; empty takes all", origin: ours, value: func(o *Options) any { return &o.Data.ClassList }},
		{name: "image_size", group: "Data", help: "side of the crops in pixels, at least 32", origin: ref, def: "224", value: func(o *Options) any { return &o.Data.ImageSize }},
		{name: "dataset", group: "Data", help: "only the crop rule of the reference: imagenet and no AlexNet sets the lower bound to 0.08", origin: ref, def: "imagenet100", defs: map[string]string{"cmc": "imagenet"}, choices: []string{"imagenet", "imagenet100"}, value: func(o *Options) any { return &o.Data.Dataset }},
		{name: "view", group: "Data", only: "cmc predict supervised", help: "colour space of the views: " + strings.Join(pixel.SpaceNames(), ", "), origin: ref, def: "Lab", value: func(o *Options) any { return &o.Data.View }},
		{name: "views", group: "Data", only: "cmc predict supervised", help: `channels of every view, "L|ab" or "0|1,2"; empty is the first and the other two; train predict predicts the others from the first`, origin: ref, value: func(o *Options) any { return &o.Data.Views }},
		{name: "view_dirs", group: "Data", only: "cmc predict supervised", help: `further views in PNG files of 8 or 16 bits, "depth,normals": DIR/train/class/a.jpg has DIR/depth/train/class/a.png or lacks that view; depth:10000 makes 10000 the top of its range`, origin: ours, value: func(o *Options) any { return &o.Data.ViewDirs }},
		{name: "view_mean", group: "Data", only: "cmc predict supervised", help: "three means that normalise --view, as contraflow data stats prints them; empty takes those known of Lab, RGB, YCbCr and YDbDr", origin: ours, value: func(o *Options) any { return (*floatList)(&o.Data.ViewMean) }},
		{name: "view_std", group: "Data", only: "cmc predict supervised", help: "three deviations that normalise --view", origin: ours, value: func(o *Options) any { return (*floatList)(&o.Data.ViewStd) }},
		{name: "crop_low", group: "Data", only: "cmc predict supervised", help: "lower bound of a crop's share of the area, in (0,1]", origin: ref, def: "0.1", value: func(o *Options) any { return &o.Data.CropLow }},
		{name: "crop", group: "Data", only: "moco insdis", help: "lower bound of a crop's share of the area, in (0,1]", origin: ref, def: "0.1", value: func(o *Options) any { return &o.Data.CropLow }},
		{name: "crop_rule", group: "Data", help: "generation of RandomResizedCrop", origin: ours, def: "torchvision-0.3", choices: []string{"torchvision-0.3", "torchvision-0.2"}, value: func(o *Options) any { return &o.Data.CropRule }},
		{name: "aug", group: "Data", only: "moco insdis supervised", help: "augmentation: NULL crops and flips, CJ adds grayscale and colour jitter to colour images", origin: ref, def: "CJ", defs: map[string]string{"supervised": "NULL"}, choices: []string{"NULL", "CJ"}, value: func(o *Options) any { return &o.Data.Aug }},
		{name: "decoder", group: "Data", help: "JPEG decoder: all give the same pixels; auto takes the faster", origin: ours, def: "auto", choices: []string{"auto", "turbo", "go"}, value: func(o *Options) any { return &o.Data.Decoder }},
		{name: "bad_samples", group: "Data", help: "largest share of unreadable images, each replaced by another; more end the run", origin: ours, def: "0.001", value: func(o *Options) any { return &o.Data.BadSamples }},
		{name: "workers", group: "Data", aliases: []string{"num_workers"}, help: "decode workers; 0 takes half the cores", origin: ours, def: "0", value: func(o *Options) any { return &o.Data.Workers }},
		{name: "autotune", group: "Data", help: "move workers to the loading stage that limits while training; results stay the same to the bit", origin: ours, def: "false", value: func(o *Options) any { return &o.Data.Autotune }},
		{name: "cpu_budget", group: "Data", help: "share of the cores that loading workers may take with --autotune, in (0,1]", origin: ours, def: "0.5", value: func(o *Options) any { return &o.Data.CPUBudget }},

		{name: "IM", group: "Mixture", help: "mix images; without it the other flags of this group do nothing", origin: ref, def: "false", value: func(o *Options) any { return &o.Mix.On }},
		{name: "IM_type", group: "Mixture", help: "what is mixed: IM pastes regions of blended partners into blended images; unmix is MoCo's self-mixture", origin: ref, def: "IM", choices: []string{"IM", "global", "region", "Cutout", "RandomErasing", "unmix"}, value: func(o *Options) any { return &o.Mix.Type }},
		{name: "mix_partner", group: "Mixture", help: "where partners come from: dataset decodes another image, batch takes one that is decoded already", origin: ours, def: "dataset", choices: []string{"dataset", "batch"}, value: func(o *Options) any { return &o.Mix.Partner }},
		{name: "g_alpha", group: "Mixture", help: "global: weights are drawn from Beta(α,α), > 0", origin: ref, def: "1", value: func(o *Options) any { return &o.Mix.GAlpha }},
		{name: "g_num", group: "Mixture", help: "global: attempts an image", origin: ref, def: "2", value: func(o *Options) any { return &o.Mix.GNum }},
		{name: "g_prob", group: "Mixture", help: "global: probability of an attempt", origin: ref, def: "0.1", value: func(o *Options) any { return &o.Mix.GProb }},
		{name: "r_beta", group: "Mixture", help: "region: area shares are drawn from Beta(β,β); 0 or less is never", origin: ref, def: "1", value: func(o *Options) any { return &o.Mix.RBeta }},
		{name: "r_prob", group: "Mixture", help: "region: probability of an attempt", origin: ref, def: "0.1", value: func(o *Options) any { return &o.Mix.RProb }},
		{name: "r_num", group: "Mixture", help: "region: attempts an image", origin: ref, def: "2", value: func(o *Options) any { return &o.Mix.RNum }},
		{name: "r_pixel_decay", group: "Mixture", help: "region: factor on the image before the first paste", origin: ref, def: "1", value: func(o *Options) any { return &o.Mix.RDecay }},
		{name: "mask_size", group: "Mixture", help: "Cutout: side of the square in pixels", origin: ref, def: "50", value: func(o *Options) any { return &o.Mix.MaskSize }},
		{name: "cutout_p", group: "Mixture", help: "Cutout: probability", origin: ref, def: "0.1", value: func(o *Options) any { return &o.Mix.CutoutP }},
		{name: "cutout_inside", group: "Mixture", help: "Cutout: keep the square inside the image", origin: ref, def: "false", value: func(o *Options) any { return &o.Mix.CutoutInside }},
		{name: "mask_color", group: "Mixture", help: "Cutout: value of the square, in normalised units", origin: ref, def: "0", value: func(o *Options) any { return &o.Mix.MaskColor }},
		{name: "random_erasing_prob", group: "Mixture", help: "RandomErasing: probability", origin: ref, def: "0.1", value: func(o *Options) any { return &o.Mix.EraseP }},
		{name: "area_ratio_range", group: "Mixture", help: "RandomErasing: smallest and largest share of the area", origin: ref, def: "0.02,0.4", value: func(o *Options) any { return (*floatList)(&o.Mix.AreaRange) }},
		{name: "min_aspect_ratio", group: "Mixture", help: "RandomErasing: aspect ratios lie in [r,1/r]", origin: ref, def: "0.3", value: func(o *Options) any { return &o.Mix.MinAspect }},
		{name: "max_attempt", group: "Mixture", help: "RandomErasing: attempts to place a rectangle", origin: ref, def: "20", value: func(o *Options) any { return &o.Mix.MaxAttempt }},
		{name: "unmix_prob", group: "Mixture", only: "moco", help: "unmix: probability of a blend, otherwise boxes change places", origin: "Un-Mix", def: "0.5", value: func(o *Options) any { return &o.Mix.UnmixProb }},
		{name: "unmix_beta", group: "Mixture", only: "moco", help: "unmix: weights are drawn from Beta(β,β), > 0", origin: "Un-Mix", def: "1", value: func(o *Options) any { return &o.Mix.UnmixBeta }},

		{name: "model", group: "Encoders", help: "network, see contraflow models", origin: ref, def: "resnet50", defs: map[string]string{"cmc": "alexnet", "predict": "alexnet", "supervised": "alexnet"}, value: func(o *Options) any { return &o.Net.Model }},
		{name: "feat_dim", group: "Encoders", help: "dimension of the embedding", origin: ref, def: "128", value: func(o *Options) any { return &o.Net.FeatDim }},
		{name: "stem", group: "Encoders", help: "first layers of ResNets: small is 3×3 without pooling, for images of about 32 pixels", origin: ours, def: "imagenet", choices: []string{"imagenet", "small"}, value: func(o *Options) any { return &o.Net.Stem }},
		{name: "bn_groups", group: "Encoders", help: "batch-norm groups: one device computes what so many would", origin: ours, def: "1", value: func(o *Options) any { return &o.Net.BNGroups }},
		{name: "alexnet_uniform_gamma", group: "Encoders", only: "cmc predict supervised", help: "draw AlexNet's batch-norm scales from U(0,1), as PyTorch up to 1.1 did", origin: ours, def: "false", value: func(o *Options) any { return &o.Net.AlexGamma }},
		{name: "alpha", group: "Encoders", only: "moco", help: "weight of the old key encoder in its moving average, in [0,1]", origin: ref, def: "0.999", value: func(o *Options) any { return &o.Net.Alpha }},
		{name: "device", group: "Encoders", help: "where the encoders run: auto, cpu, cuda or cuda:N; auto is the first GPU, if this build and machine have one", origin: ours, def: "auto", value: func(o *Options) any { return &o.Net.Device }},
		{name: "threads", group: "Encoders", help: "compute threads; 0 is one a core", origin: ours, def: "0", value: func(o *Options) any { return &o.Net.Threads }},
		{name: "deterministic_reference", group: "Encoders", help: "only arithmetic in the reference's order: no Winograd convolutions", origin: ours, def: "false", value: func(o *Options) any { return &o.Net.Direct }},
		{name: "cuda_graph", group: "Encoders", help: "the cuda device records the work of a step once and launches it as CUDA graphs", origin: ours, def: "false", value: func(o *Options) any { return &o.Net.CUDAGraph }},
		{name: "tf32", group: "Encoders", help: "float products of the cuda device round their inputs to ten bits of mantissa", origin: ours, def: "false", value: func(o *Options) any { return &o.Net.TF32 }},
		{name: "amp", group: "Encoders", help: "mixed precision: the cuda device computes in bfloat16, with masters and statistics in float32; the cpu device multiplies so in most convolutions where the processor can; the run folder is named for it", origin: ref, def: "false", value: func(o *Options) any { return &o.Net.AMP }},
		{name: "opt_level", group: "Encoders", help: "accepted: both levels are what --amp does; with it part of the run folder's name", origin: ref, def: "O2", choices: []string{"O1", "O2"}, value: func(o *Options) any { return &o.Net.OptLevel }},

		{name: "softmax", group: "Contrast", only: contrasts, help: "softmax cross entropy (InfoNCE) instead of noise-contrastive estimation", origin: ref, def: "false", value: func(o *Options) any { return &o.Loss.Softmax }},
		{name: "nce_k", group: "Contrast", only: contrasts, help: "negatives of every positive; length of MoCo's queue", origin: ref, def: "16384", value: func(o *Options) any { return &o.Loss.K }},
		{name: "nce_t", group: "Contrast", only: contrasts, help: "temperature, > 0", origin: ref, def: "0.07", value: func(o *Options) any { return &o.Loss.T }},
		{name: "nce_m", group: "Contrast", only: "cmc insdis", help: "weight of the old row in the memory's moving average, in [0,1]", origin: ref, def: "0.5", value: func(o *Options) any { return &o.Loss.M }},
		{name: "nce_z_ema", group: "Contrast", only: contrasts, help: "weight of the old Z in a moving average of NCE's constant; 0 sets it once, as the reference does", origin: ours, def: "0", value: func(o *Options) any { return &o.Loss.ZDecay }},
		{name: "graph", group: "Contrast", only: "cmc", help: "pairs of views: full takes all, core the first with every other", origin: "CMC paper", def: "full", choices: []string{"core", "full"}, value: func(o *Options) any { return &o.Loss.Graph }},

		{name: "predict_loss", group: "Prediction", only: "predict", help: "mean distance of a predicted value: L1 is |p-v|, L2 is (p-v)²", origin: "CMC paper", def: "L2", choices: []string{"L1", "L2"}, value: func(o *Options) any { return &o.Loss.Predict }},

		{name: "batch_size", group: "Optimiser", help: "images a step", origin: ref, def: "128", value: func(o *Options) any { return &o.Optim.BatchSize }},
		{name: "epochs", group: "Optimiser", help: "passes over the data", origin: ref, def: "600", value: func(o *Options) any { return &o.Optim.Epochs }},
		{name: "learning_rate", group: "Optimiser", help: "of SGD", origin: ref, def: "0.03", value: func(o *Options) any { return &o.Optim.LR }},
		{name: "lr_decay_epochs", group: "Optimiser", help: "epochs after which the rate falls", origin: ref, def: "360,480,540", value: func(o *Options) any { return (*intList)(&o.Optim.DecayEpochs) }},
		{name: "lr_decay_rate", group: "Optimiser", help: "factor by which it falls", origin: ref, def: "0.1", value: func(o *Options) any { return &o.Optim.DecayRate }},
		{name: "cosine", group: "Optimiser", help: "half a cosine instead of steps", origin: ref, def: "false", value: func(o *Options) any { return &o.Optim.Cosine }},
		{name: "warmup_epochs", group: "Optimiser", help: "epochs of linear warm-up", origin: ours, def: "0", value: func(o *Options) any { return &o.Optim.WarmEpochs }},
		{name: "warm", group: "Optimiser", only: "moco insdis", help: "accepted: names the run folder, as in the original, which has no warm-up; see --warmup_epochs", origin: ref, def: "false", value: func(o *Options) any { return &o.Optim.Warm }},
		{name: "momentum", group: "Optimiser", help: "of SGD", origin: ref, def: "0.9", value: func(o *Options) any { return &o.Optim.Momentum }},
		{name: "weight_decay", group: "Optimiser", help: "L2, on every parameter", origin: ref, def: "0.0001", value: func(o *Options) any { return &o.Optim.WeightDecay }},
		{name: "drop_last", group: "Optimiser", help: "leave a short last batch out", origin: ours, def: "false", value: func(o *Options) any { return &o.Optim.DropLast }},

		{name: "preset", group: "Run", help: "named set of flags, see contraflow presets, or a .yaml file; flags on the command line override it", origin: ours, value: func(o *Options) any { return &o.Run.Preset }},
		{name: "model_path", group: "Run", help: "folder of run folders", origin: ref, def: "./save_models", value: func(o *Options) any { return &o.Run.ModelPath }},
		{name: "run_name", group: "Run", help: "name of the run folder; empty makes the reference's from the options", origin: ours, value: func(o *Options) any { return &o.Run.Name }},
		{name: "legacy_names", group: "Run", help: "name run folders exactly as the reference does: without the mixture", origin: ours, def: "false", value: func(o *Options) any { return &o.Run.Legacy }},
		{name: "tb_path", group: "Run", help: "folder of TensorBoard events, one subfolder a run; empty writes none", origin: ref, def: "./save_tb", value: func(o *Options) any { return &o.Run.TBPath }},
		{name: "print_freq", group: "Run", help: "print a line every so many steps; 0 prints one a second", origin: ours, def: "0", value: func(o *Options) any { return &o.Run.PrintFreq }},
		{name: "resume", group: "Run", help: `checkpoint to go on from; "auto" is the newest of the run folder, if any`, origin: ref, value: func(o *Options) any { return &o.Run.Resume }},
		{name: "force", group: "Run", help: "resume although options differ that change the run", origin: ours, def: "false", value: func(o *Options) any { return &o.Run.Force }},
		{name: "seed", group: "Run", help: "of every random draw", origin: ours, def: "1", value: func(o *Options) any { return &o.Run.Seed }},
		{name: "max_steps", group: "Run", help: "stop after so many steps; 0 is all epochs", origin: ours, def: "0", value: func(o *Options) any { return &o.Run.MaxSteps }},
		{name: "save_freq", group: "Run", help: "epochs between checkpoints; 0 saves at the end only", origin: ref, def: "10", value: func(o *Options) any { return &o.Run.SaveFreq }},
		{name: "save_steps", group: "Run", help: "steps between checkpoints; 0 is never", origin: ours, def: "0", value: func(o *Options) any { return &o.Run.SaveSteps }},
		{name: "keep", group: "Run", help: "newest checkpoints kept; 0 keeps all", origin: ours, def: "3", value: func(o *Options) any { return &o.Run.Keep }},
		{name: "on_nan", group: "Run", help: "what a loss that is not finite does", origin: ours, def: "stop", choices: []string{"stop", "skip"}, value: func(o *Options) any { return &o.Run.OnNaN }},
		{name: "watchdog", group: "Run", help: "seconds after which a stage still busy with one item is reported by name; 0 never", origin: ours, def: "60", value: func(o *Options) any { return &o.Run.Watchdog }},
		{name: "metrics_addr", group: "Run", help: "address where Prometheus reads /metrics, such as :9090; without a host only this machine can; empty is off", origin: ours, value: func(o *Options) any { return &o.Run.Metrics }},
		{name: "knn_every", group: "Run", help: "epochs between kNN scores of the encoder on val; 0 is never", origin: ours, def: "0", value: func(o *Options) any { return &o.Run.KNNEvery }},
		{name: "knn_images", group: "Run", help: "largest number of images of train and of val in a kNN score, evenly spread", origin: ours, def: "5000", value: func(o *Options) any { return &o.Run.KNNImages }},
		{name: "report", group: "Run", help: "write report.html into the run folder at the end", origin: ours, def: "false", value: func(o *Options) any { return &o.Run.Report }},
		{name: "quiet", group: "Run", help: "print nothing but errors", origin: ours, def: "false", value: func(o *Options) any { return &o.Run.Quiet }},
	}
}

// ignored are flags of the original that do nothing here: it never reads them itself, but for --gpu.
var ignored = map[string]string{
	"tb_freq": "int", "beta1": "float", "beta2": "float", "gpu": "int", "log": "string", "syncBN": "bool", "bn": "bool",
}

// idle is, by method, the flag that the original's one script for MoCo and instance discrimination takes for the other.
var idle = map[string]string{"moco": "nce_m", "insdis": "alpha"}

func (f flag) applies(method string) bool {
	return f.only == "" || strings.Contains(" "+f.only+" ", " "+method+" ")
}

func (f flag) standard(method string) string {
	if d, ok := f.defs[method]; ok {
		return d
	}
	return f.def
}

// Defaults are the options of a method without any flag.
func Defaults(method string) Options {
	o := Options{Method: method}
	fs := pflag.NewFlagSet(method, pflag.ContinueOnError)
	Bind(fs, &o)
	return o
}

// Bind adds a method's flags to a flag set, with their defaults in o.
func Bind(fs *pflag.FlagSet, o *Options) {
	o.Loss.Graph, o.Data.CropLow, o.Loss.M, o.Net.Alpha, o.Data.Aug = "full", 0.1, 0.5, 0.999, "NULL"
	o.Data.View, o.Mix.UnmixProb, o.Mix.UnmixBeta, o.Loss.K, o.Loss.T = "RGB", 0.5, 1, 1, 1
	for _, f := range flagTable() {
		if !f.applies(o.Method) {
			continue
		}
		usage := fmt.Sprintf("%s (%s)", f.help, f.origin)
		if len(f.choices) > 0 {
			usage = fmt.Sprintf("%s: %s (%s)", f.help, strings.Join(f.choices, ", "), f.origin)
		}
		for i, name := range append([]string{f.name}, f.aliases...) {
			v := valueOf(f.value(o))
			if err := v.Set(f.standard(o.Method)); err != nil && f.standard(o.Method) != "" {
				panic(fmt.Sprintf("flows: default of --%s: %v", f.name, err))
			}
			if len(f.choices) > 0 {
				v = choice{v, f.choices}
			}
			added := fs.VarPF(v, name, "", usage)
			added.DefValue = f.standard(o.Method)
			added.Hidden = i > 0
			if v.Type() == "bool" {
				added.NoOptDefVal = "true"
			}
			added.Annotations = map[string][]string{"group": {f.group}}
		}
	}
	for name, kind := range ignored {
		bindIgnored(fs, name, kind)
	}
	if name := idle[o.Method]; name != "" {
		bindIgnored(fs, name, "float")
	}
}

// bindIgnored adds a flag that does nothing.
func bindIgnored(fs *pflag.FlagSet, name, kind string) {
	added := fs.VarPF(&discard{kind}, name, "", "accepted and ignored")
	added.Hidden = true
	if kind == "bool" {
		added.NoOptDefVal = "true"
	}
}

// Warnings names what was given and has no effect, and gives o the values that count instead.
func Warnings(fs *pflag.FlagSet, o *Options) []string {
	var out []string
	o.canonical()
	fs.Visit(func(f *pflag.Flag) {
		if _, ok := f.Value.(*discard); ok && f.Name == idle[o.Method] {
			out = append(out, fmt.Sprintf("--%s has no effect on train %s, nor has it in the original", f.Name, o.Method))
		} else if ok {
			out = append(out, noEffect(f.Name))
		}
		switch f.Name {
		case "warm":
			out = append(out, "--warm only names the run folder: the original has no warm-up; --warmup_epochs has")
		case "amp", "cuda_graph", "tf32":
			c, err := parseDevice(o.Net.Device)
			switch {
			case err != nil || c.gpu:
			case f.Name != "amp":
				out = append(out, fmt.Sprintf("--%s has no effect on the cpu device", f.Name))
			case !cpu.BF16():
				out = append(out, "--amp does not change the arithmetic: this processor has no instructions for bfloat16")
			}
		}
		if why := unused(f, o); why != "" {
			out = append(out, why)
		}
	})
	if o.Data.Dataset == "imagenet" && o.Net.Model != "alexnet" && o.Data.CropLow != 0.08 {
		out = append(out, cropWarning(o.Data.CropLow))
		o.Data.CropLow = 0.08
		for _, name := range []string{"crop_low", "crop"} {
			if f := fs.Lookup(name); f != nil {
				f.Annotations[originNote] = []string{cropRule}
			}
		}
	}
	return out
}

// canonical gives what may be spelt in several ways the spelling of names and checkpoints.
func (o *Options) canonical() {
	o.Net.Model = encoders.Canonical(o.Net.Model)
	if s, err := pixel.LookupSpace(o.Data.View); err == nil { // in any case
		o.Data.View = s.Name
	}
}

// originNote annotates a flag whose value is neither the default nor what was given: with where it comes from.
const originNote = "origin"

// cropRule is the origin of a bound that the reference's crop rule set.
const cropRule = "crop rule of the reference"

func cropWarning(was float64) string {
	return fmt.Sprintf("the lower bound of crops is 0.08, not %s: so the original has it for --dataset imagenet and every model but AlexNet", pyFloat(was))
}

// noEffect is the warning about an ignored flag.
func noEffect(name string) string {
	if name == "gpu" {
		return "--gpu has no effect: --device cuda:N chooses the device, for everything"
	}
	return fmt.Sprintf("--%s has no effect: the original accepts it and never reads it", name)
}

type discard struct{ kind string }

func (d *discard) String() string   { return "" }
func (d *discard) Set(string) error { return nil }
func (d *discard) Type() string     { return d.kind }

// choice checks a value against a list.
type choice struct {
	pflag.Value
	from []string
}

func (c choice) Set(s string) error {
	for _, v := range c.from {
		if s == v {
			return c.Value.Set(s)
		}
	}
	return fmt.Errorf("choose one of %s", strings.Join(slices.DeleteFunc(slices.Clone(c.from), func(s string) bool { return s == "" }), ", "))
}

// FlagError says of a value that does not parse what is wanted, where pflag tells how Go would have parsed it.
func FlagError(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	cause := bad.Unwrap()
	if number := (*strconv.NumError)(nil); errors.As(cause, &number) {
		want := map[string]string{"bool": "true or false", "float64": "a number", "intSlice": "whole numbers separated by commas"}[bad.GetFlag().Value.Type()]
		if want == "" {
			want = "a whole number"
		}
		cause = errors.New("want " + want)
		if errors.Is(number, strconv.ErrRange) {
			cause = fmt.Errorf("out of range: %w", cause)
		}
	}
	return fmt.Errorf("--%s %q: %w", bad.GetFlag().Name, bad.GetValue(), cause)
}

// ListFlag is a flag of whole numbers separated by commas.
func ListFlag(p *[]int) pflag.Value { return (*intList)(p) }

// intList is a comma-separated list.
type intList []int

func (l *intList) String() string {
	var s []string
	for _, v := range *l {
		s = append(s, strconv.Itoa(v))
	}
	return strings.Join(s, ",")
}

func (l *intList) Set(s string) error {
	var out []int
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		v, err := strconv.Atoi(part)
		if err != nil {
			return fmt.Errorf("%q is not a whole number: want a list such as 1,2,3", part)
		}
		out = append(out, v)
	}
	*l = out
	return nil
}

func (l *intList) Type() string { return "list" }

// floatList is a pair or list of numbers, with or without the brackets of Python.
type floatList []float64

func (l *floatList) String() string {
	var s []string
	for _, v := range *l {
		s = append(s, pyFloat(v))
	}
	return strings.Join(s, ",")
}

func (l *floatList) Set(s string) error {
	var out []float64
	for _, part := range strings.Split(strings.Trim(s, "[]() "), ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil {
			return fmt.Errorf("%q is not a number: want a list such as 0.02,0.4", part)
		}
		out = append(out, v)
	}
	*l = out
	return nil
}

func (l *floatList) Type() string { return "list" }

// valueOf makes a pflag.Value of a pointer.
func valueOf(p any) pflag.Value {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	switch v := p.(type) {
	case *string:
		fs.StringVar(v, "v", *v, "")
	case *int:
		fs.IntVar(v, "v", *v, "")
	case *float64:
		fs.Float64Var(v, "v", *v, "")
	case *bool:
		fs.BoolVar(v, "v", *v, "")
	case pflag.Value:
		return v
	default:
		panic(fmt.Sprintf("flows: no flag value for %T", p))
	}
	return fs.Lookup("v").Value
}
