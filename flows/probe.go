package flows

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/tensorboard"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// ProbeResult is what a linear probe found; accuracies are shares in [0,1] of the validation images.
type ProbeResult struct {
	Top1   float64  `json:"top1"`           // of the best epoch by top-1
	Top5   *float64 `json:"top5,omitempty"` // of the same epoch; nil when nobody knows, as after a .pth of the reference
	Layer  int      `json:"layer"`
	Epochs int      `json:"epochs"` // done
	Best   int      `json:"best_epoch"`
	Bad    int      `json:"bad"` // validation images that could not be read, and count in no accuracy

	LastTop1 float64 `json:"last_top1"`
	LastTop5 float64 `json:"last_top5"`
	TestLoss float64 `json:"test_loss"` // of the last epoch, nats
	Model    string  `json:"model"`
	Classes  int     `json:"classes"`
	Features int     `json:"features"` // in-features of the classifier
	Seconds  float64 `json:"seconds"`
	Dir      string  `json:"dir"`
}

// Probe trains and scores a linear classifier on a frozen layer (CMC's LinearProbing and eval_moco_ins), and writes its folder.
func Probe(ctx context.Context, o ProbeOptions) (*ProbeResult, error) {
	r, err := PrepareProbe(ctx, o)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Run(ctx)
}

// ProbeStep is what a finished step of a probe tells.
type ProbeStep struct {
	Plan     stages.Plan
	Val      bool
	Samples  int
	Loss     float64 // nats, mean over the batch
	Top1     float64 // share of the batch
	Top5     float64
	LR       float64
	Bad      []stages.Substitution
	snapshot *HeadState
	right    []probeGuess
}

// probeGuess is a validation image's class and the one that was found.
type probeGuess struct{ label, found int }

// ProbeEpoch are the averages of an epoch.
type ProbeEpoch struct {
	Epoch                         int
	LR                            float64
	TrainLoss, TrainTop1, Train5  float64
	TestLoss, TestTop1, TestTop5  float64
	Best                          bool // better than every epoch before
	BestTop1                      float64
	ImagesPerSec, Seconds, Passed float64 // of both halves; of the epoch; of the probe
}

// ProbeRun is one probe: everything that is opened, made and checked before its graph starts.
type ProbeRun struct {
	Dir string
	// Moved is where an earlier probe of the same name was put; empty if there was none.
	Moved string

	// Warnings are lines on what was given and is not what happens.
	Warnings []string

	// Observe, if set, is told of every step, and EndOfEpoch of every epoch's averages, on the goroutine of the meter stage.
	Observe    func(s *ProbeStep)
	EndOfEpoch func(e ProbeEpoch)
	// OnBad, if set, is told of every image that could not be read and is left out. It may be called from several goroutines.
	OnBad func(name string, err error)
	// Stop, when closed, ends the run after the step in flight, with a checkpoint.
	Stop <-chan struct{}

	o       ProbeOptions
	encoder *Encoder
	inputs  probeInputs
	frozen  *Frozen
	head    *LinearHead
	norm    *FeatureNorm
	halves  [2]probeHalf // train, val
	sampler [2]stages.Sampler
	cached  [2]*probeCache
	lock    *checkpoint.Lock
	graph   *contraflow.Graph
	rows    sync.Pool

	progress probeProgress
	guesses  []probeGuess // of the running validation
	counts   counts       // confusion of the last one
	metrics  *Metrics
	tb       *tensorboard.Writer
	before   float64 // seconds of earlier parts
	begun    time.Time
	epoch    time.Time // when it began
	images   int       // of the epoch, both halves
}

// probeHalf is the loading side of one half of the data.
type probeHalf struct {
	data   stages.Dataset
	decode *stages.Decode
	views  *stages.Views
}

// PrepareProbe opens encoder and data, makes the classifier, takes the folder and restores a checkpoint if one is asked for.
// Nothing is written before everything has been checked. Close ends what it opened.
func PrepareProbe(ctx context.Context, o ProbeOptions) (*ProbeRun, error) {
	if err := ValidateProbe(o); err != nil {
		return nil, err
	}
	r := &ProbeRun{o: o}
	if err := r.open(ctx); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *ProbeRun) open(ctx context.Context) (err error) {
	o := &r.o
	// The model is looked at after opening, so that a mismatch names both; files of bare tensors need it to open.
	r.encoder, err = OpenEncoder(o.ModelPath, Open{Device: o.Device, Threads: o.Threads, Decoder: o.Decoder, ImageSize: o.ImageSize, View: o.View, Towers: o.Towers})
	if err != nil {
		return fmt.Errorf("--model_path: %w", err)
	}
	crop := o.CropLow
	if err := o.resolve(r.encoder); err != nil {
		return err
	}
	if o.CropLow != crop && o.Augment {
		r.Warnings = append(r.Warnings, cropWarning(crop))
	}
	for i, half := range []string{"train", "val"} {
		if r.halves[i], err = r.openHalf(half); err != nil {
			return err
		}
	}
	train, val := r.halves[0].data, r.halves[1].data
	if err := sameClasses(o.DataFolder, "train", train.Classes(), "val", val.Classes()); err != nil {
		return err
	}
	seed := uint64(o.Seed)
	r.sampler[0] = stages.Sampler{N: train.Len(), Batch: min(o.BatchSize, train.Len()), Epochs: o.Epochs, Seed: seed, MaxSteps: o.MaxSteps}
	r.sampler[1] = stages.Sampler{N: val.Len(), Batch: min(o.BatchSize, val.Len()), Epochs: 1, Seed: seed, Ordered: true}
	c := r.encoder.Model.Classifier(o.Layer, len(train.Classes()), o.Pool)
	if r.frozen, err = r.encoder.Frozen(o.Layer, c, o.Towers, o.Replicas); err != nil {
		return err
	}
	if r.head, err = NewLinearHead(c, r.frozen.Dim, r.sampler[0].Batch, o.Replicas, o.Threads, seed); err != nil {
		return err
	}
	r.head.Momentum, r.head.Decay = o.Momentum, o.WeightDecay
	if o.Adam {
		r.head.Adam = &ops.Adam{Beta1: o.Beta1, Beta2: o.Beta2, Eps: 1e-8}
	}
	if o.FeatureBN {
		r.norm = &FeatureNorm{Groups: o.Replicas}
		if o.SyncBN {
			r.norm.Groups = 1
		}
	}
	r.inputs = r.inputsOf()
	r.Dir = filepath.Join(o.SavePath, ProbeName(*o, r.encoder.Model))
	if o.TBPath != "" {
		if err := usable(r.eventDir()); err != nil {
			return fmt.Errorf("--tb_path: %w", err)
		}
	}
	goesOn := o.Resume == "auto" || within(r.Dir, o.Resume)
	if !goesOn {
		if err := r.resume(); err != nil {
			return err
		}
		if r.Done() { // it is what it was
			r.Dir = o.Resume
			return nil
		}
	}
	if r.lock, err = checkpoint.Acquire(r.Dir); err != nil {
		return fmt.Errorf("--save_path: %w", err)
	}
	if !goesOn {
		if r.Moved, r.lock, err = makeRoom(r.Dir, r.lock); err != nil {
			return fmt.Errorf("--save_path: %w", err)
		}
		return nil
	}
	if err := r.resume(); err != nil {
		return err
	}
	r.readTime()
	return nil
}

// openHalf opens train or val.
func (r *ProbeRun) openHalf(half string) (h probeHalf, err error) {
	o := r.encoder.Options
	o.Data.Folder, o.Data.CropLow, o.Data.CropRule, o.Data.Aug, o.Data.BadSamples, o.Run.Seed =
		r.o.DataFolder, r.o.CropLow, r.o.CropRule, r.o.Aug, r.o.BadSamples, r.o.Seed
	if r.o.ClassList != "" {
		o.Data.ClassList = r.o.ClassList
	}
	if _, err := os.Stat(filepath.Join(r.o.DataFolder, "train")); err == nil && half == "val" { // other formats have other names
		if _, err := os.Stat(filepath.Join(r.o.DataFolder, half)); errors.Is(err, os.ErrNotExist) {
			return h, fmt.Errorf("--data_folder %s: it has no folder val: a probe is scored on val/<class>/<images>, of the same classes as train", r.o.DataFolder)
		}
	}
	if h.data, err = openData(o, half, true); err != nil {
		return h, err
	}
	v := r.encoder.views
	v.crops = 1
	if h.decode, err = newDecode(o, h.data, r.encoder.decoder, v, half == "val" || !r.o.Augment); err != nil {
		return h, err
	}
	h.decode.OnBad = func(s stages.Substitution) {
		if r.OnBad != nil {
			r.OnBad(s.Name, s.Err)
		}
	}
	h.views = v.stage(h.decode.Recycle)
	return h, nil
}

// sameClasses refuses splits whose classes differ: labels are positions in the sorted list of names.
func sameClasses(folder, nameA string, a []string, nameB string, b []string) error {
	missing := func(a, b []string) (out []string) {
		has := map[string]bool{}
		for _, c := range b {
			has[c] = true
		}
		for _, c := range a {
			if !has[c] {
				out = append(out, c)
			}
		}
		return out
	}
	var parts []string
	for _, side := range []struct {
		name string
		only []string
	}{{nameA, missing(a, b)}, {nameB, missing(b, a)}} {
		if n := len(side.only); n > 3 {
			parts = append(parts, fmt.Sprintf("%s and %d more only in %s", strings.Join(side.only[:3], ", "), n-3, side.name))
		} else if n > 0 {
			parts = append(parts, fmt.Sprintf("%s only in %s", strings.Join(side.only, ", "), side.name))
		}
	}
	if len(parts) == 0 && slices.Equal(a, b) {
		return nil
	}
	if len(parts) == 0 {
		parts = []string{"their order differs"}
	}
	return fmt.Errorf("--data_folder %s: %s has %s, %s %d, and they must be the same: %s", folder, nameA, counted(len(a), "class"), nameB, len(b), strings.Join(parts, "; "))
}

// Close gives devices and folder back.
func (r *ProbeRun) Close() error {
	var errs []error
	if r.head != nil {
		errs = append(errs, r.head.Close())
	}
	if r.frozen != nil {
		errs = append(errs, r.frozen.Close())
	}
	for _, c := range r.cached {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	if r.encoder != nil {
		errs = append(errs, r.encoder.Close())
	}
	if r.lock != nil {
		errs = append(errs, r.lock.Release())
	}
	return errors.Join(errs...)
}

// Describe is one line on what is about to happen.
func (r *ProbeRun) Describe() string {
	o := r.o
	optimiser := "SGD"
	if o.Adam {
		optimiser = "Adam"
	}
	return fmt.Sprintf("probe of %s layer %d: %v, %d features, %d classes, %d and %d images, %s, batch %d, %s, %s on %s",
		r.encoder.Model.Name, o.Layer, r.frozen.Shape, r.frozen.Dim, r.head.Classes, r.halves[0].data.Len(), r.halves[1].data.Len(),
		optimiser, r.sampler[0].Batch, counted(o.Epochs, "epoch"), counted(o.Replicas, "replica"), r.encoder.net.device.Name())
}

// Steps is how many steps the probe has in all, and how many are done when it starts.
func (r *ProbeRun) Steps() (total, done int) { return r.sampler[0].Steps(), r.sampler[0].Start }

// Options are the resolved options.
func (r *ProbeRun) Options() ProbeOptions { return r.o }

// Stats are the graph's numbers so far.
func (r *ProbeRun) Stats() contraflow.Stats {
	if r.graph == nil {
		return contraflow.Stats{}
	}
	return r.graph.Stats()
}

// Model is the encoder's.
func (r *ProbeRun) Model() encoders.Model { return r.encoder.Model }
