package flows

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"

	"github.com/contraflow/contraflow/encoders"
)

// ProbeOptions are everything a linear probe can be told; probeFlags has their flags, defaults and origins.
type ProbeOptions struct {
	ModelPath string // --model_path: the encoder, whatever OpenEncoder opens
	Model     string // --model: empty takes what the file says
	Layer     int    // --layer: 0 is the model's own default
	Pool      string // --pool: max, avg; empty is the reference's
	Towers    []int  // --towers: the towers whose features are joined; empty is all

	DataFolder string  // --data_folder
	ClassList  string  // --class_list: empty takes that of training
	Dataset    string  // --dataset: only the crop rule; empty is the reference's default
	View       string  // --view: empty takes what the file says
	ImageSize  int     // --image_size: 0 is that of training
	CropLow    float64 // --crop_low, --crop
	CropRule   string  // --crop_rule
	Aug        string  // --aug: NULL, CJ; of encoders of colour images
	Augment    bool    // --augment: random crops; false takes the evaluation crop
	Decoder    string  // --decoder
	BadSamples float64 // --bad_samples
	Workers    int     // --workers

	Device    string // --device
	Threads   int    // --threads
	Replicas  int    // --replicas
	FeatureBN bool   // --feature_bn: parameter-free batch normalisation of the features
	SyncBN    bool   // --sync_bn, --syncBN
	Cache     bool   // --cache_features

	BatchSize   int     // --batch_size
	Epochs      int     // --epochs
	LR          float64 // --learning_rate
	DecayEpochs []int   // --lr_decay_epochs
	DecayRate   float64 // --lr_decay_rate
	Cosine      bool    // --cosine
	Adam        bool    // --adam
	Momentum    float64 // --momentum
	Beta1       float64 // --beta1: of Adam
	Beta2       float64 // --beta2
	WeightDecay float64 // --weight_decay
	DecayGiven  bool    // --weight_decay was given: --legacy_names then print a 0 as 0.0

	SavePath  string // --save_path
	TBPath    string // --tb_path
	Name      string // --run_name
	Legacy    bool   // --legacy_names
	PrintFreq int    // --print_freq
	SaveFreq  int    // --save_freq, epochs
	SaveSteps int    // --save_steps
	Keep      int    // --keep
	Resume    string // --resume
	Force     bool   // --force
	Seed      int    // --seed
	MaxSteps  int    // --max_steps
	Quiet     bool   // --quiet

	UseBN, Warm, AMP bool   // --bn, --warm, --amp: they name the folder
	OptLevel         string // --opt_level
}

// rate is the learning rate of an epoch.
func (o ProbeOptions) rate(epoch int) float64 {
	return OptimOptions{LR: o.LR, DecayEpochs: o.DecayEpochs, DecayRate: o.DecayRate, Cosine: o.Cosine, Epochs: o.Epochs}.Rate(epoch)
}

// ValidateProbe checks options before anything is opened or written.
func ValidateProbe(o ProbeOptions) error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(o.ModelPath != "", "--model_path is missing: give the encoder, a run folder, a checkpoint or a .pth")
	bad(o.DataFolder != "", "--data_folder is missing: give the folder that holds train/ and val/")
	bad(o.Layer >= 0, "--layer %d: must be 1 or more, or 0 for the model's own default", o.Layer)
	bad(o.ImageSize == 0 || o.ImageSize >= 32 && o.ImageSize <= 4096, "--image_size %d: must be between 32 and 4096, or 0 for that of training", o.ImageSize)
	bad(o.CropLow > 0 && o.CropLow <= 1, "--crop_low %v: must be in (0,1]", o.CropLow)
	bad(o.BadSamples >= 0 && o.BadSamples <= 1, "--bad_samples %v: must be in [0,1]", o.BadSamples)
	errs = append(errs, CheckCount("workers", o.Workers, "half the cores"), Open{Device: o.Device, Threads: o.Threads, Towers: o.Towers}.Check(), checkName(o.Name))
	bad(o.Replicas >= 1 && o.Replicas <= probeShards, "--replicas %d: must be between 1 and %d", o.Replicas, probeShards)
	bad(!o.Cache || !o.Augment, "--cache_features keeps one row of features an image: give --augment=false with it, which trains on the evaluation crop")
	bad(o.BatchSize >= 1, "--batch_size %d: must be at least 1", o.BatchSize)
	bad(!o.FeatureBN || o.BatchSize >= 2*o.Replicas, "--feature_bn: --batch_size %d over --replicas %d leaves less than two rows to normalise over", o.BatchSize, o.Replicas)
	bad(o.Epochs >= 1, "--epochs %d: must be at least 1", o.Epochs)
	bad(o.LR > 0, "--learning_rate %v: must be positive", o.LR)
	bad(o.DecayRate > 0, "--lr_decay_rate %v: must be positive", o.DecayRate)
	bad(o.Momentum >= 0 && o.Momentum < 1, "--momentum %v: must be in [0,1)", o.Momentum)
	bad(o.Beta1 >= 0 && o.Beta1 < 1 && o.Beta2 >= 0 && o.Beta2 < 1, "--beta1 %v, --beta2 %v: must be in [0,1)", o.Beta1, o.Beta2)
	bad(o.WeightDecay >= 0, "--weight_decay %v: must not be negative", o.WeightDecay)
	bad(noneBelow(1, o.DecayEpochs), "--lr_decay_epochs %v: epochs count from 1", (*intList)(&o.DecayEpochs))
	bad(o.SaveFreq >= 0, "--save_freq %d: must be 0 (the best and the last only) or more", o.SaveFreq)
	bad(o.SaveSteps >= 0, "--save_steps %d: must be 0 (never) or more", o.SaveSteps)
	bad(o.Keep >= 0, "--keep %d: must be 0 (all) or more", o.Keep)
	bad(o.MaxSteps >= 0, "--max_steps %d: must be 0 (all epochs) or more", o.MaxSteps)
	bad(o.PrintFreq >= 0, "--print_freq %d: must be 0 (a line an epoch) or more", o.PrintFreq)
	for _, f := range probeFlags() {
		if v, ok := f.value(&o).(*float64); ok {
			bad(!math.IsInf(*v, 0) && !math.IsNaN(*v), "--%s %v: must be a finite number", f.name, *v)
		}
	}
	return errors.Join(errs...)
}

// ProbeName is the name of a probe's folder, as the reference makes it of its flags and the name of the encoder's folder. The
// reference's lacks the layer, so that probes of two layers overwrite each other; legacy keeps it so.
func ProbeName(o ProbeOptions, m encoders.Model) string {
	if o.Name != "" {
		return o.Name
	}
	name := parentOf(o.ModelPath) + "_bsz_" + strconv.Itoa(o.BatchSize) + "_lr_" + pyFloat(o.LR) + "_decay_" + probeDecay(o)
	if m.Multi {
		name = "calibrated_" + name + "_view_" + o.View
	} else {
		name += "_crop_" + pyFloat(o.CropLow)
		for _, part := range []struct {
			on   bool
			text string
		}{{o.AMP, "_amp_" + o.OptLevel}, {true, "_aug_" + o.Aug}, {o.UseBN, "_useBN"}, {o.Adam, "_useAdam"}, {o.Cosine, "_cosine"}} {
			if part.on {
				name += part.text
			}
		}
	}
	if !o.Legacy {
		name += "_layer" + strconv.Itoa(o.Layer)
		if len(o.Towers) > 0 {
			name += "_towers_" + (*intList)(&o.Towers).String()
		}
	}
	return name
}

// probeDecay prints the weight decay: its default is an integer in the reference, what is given a float.
func probeDecay(o ProbeOptions) string {
	if o.WeightDecay == 0 && !(o.Legacy && o.DecayGiven) {
		return "0"
	}
	return pyFloat(o.WeightDecay)
}

// parentOf names the folder of an encoder: a run folder itself, else the folder that holds the file.
func parentOf(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if isRunFolder(path) {
		return filepath.Base(path)
	}
	return filepath.Base(filepath.Dir(path))
}
