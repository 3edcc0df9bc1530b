package flows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/synth"
	"github.com/contraflow/contraflow/stages"
)

// Study compares ways of training by the accuracy of linear probes on their frozen features, over several seeds.
type Study struct {
	Name     string
	Question string // what it asks, one sentence
	Variants []Variant
	Claims   []Claim
}

// Variant is one way of training: a row of the table.
type Variant struct {
	Key       string // of its run folders; the same recipe has the same key in every study
	Name      string
	Options   Options
	Untrained bool // the freshly drawn network
	Judged    []Judged
}

// Judged is a column: the features of some towers joined.
type Judged struct {
	Column string // "L", "ab", "L+ab"
	Towers []int
}

// Claim says that one cell is at least another, less a margin.
type Claim struct {
	Text               string
	Left, LeftColumn   string // name of a variant
	Right, RightColumn string
	Margin             float64 // the left one may be lower by so much
}

// StudyOptions say what a study is run on.
type StudyOptions struct {
	Out       string // folder of data, runs and results
	Data      string // data folder; empty draws scenes into Out/data
	Seeds     []int  // of training; the data stay the same
	Layer     int    // that is probed
	Epochs    int    // 0 is the preset's; the same for ImageSize, Model
	ImageSize int
	Model     string
	View      string // colour space and views, as for training
	Views     string
	ViewDirs  string
	Threads   int
	Stop      <-chan struct{}
	Say       func(format string, args ...any)
}

// StudyData is the generated data set of a study.
var StudyData = synth.Options{Classes: 10, PerClass: 40, ValPerClass: 100, Size: 48, Seed: 1, Extra: []string{"depth", "normals"}}

// generated are the options on drawn scenes, of which only the study of views takes all that there are.
func (o StudyOptions) generated(name string) StudyOptions {
	o.Data = filepath.Join(o.Out, "data")
	if o.ViewDirs == "" && name == "views" {
		o.ViewDirs = strings.Join(StudyData.Extra, ",")
	}
	return o
}

// Check reports the first setting that makes no study, without a look at any data.
func (o StudyOptions) Check(name string) error {
	if len(o.Seeds) == 0 {
		return errors.New("--seeds is empty: want a list such as 1,2,3")
	}
	for i, seed := range o.Seeds {
		if slices.Contains(o.Seeds[:i], seed) {
			return fmt.Errorf("--seeds %v: %d is there twice, and would count one run twice", (*intList)(&o.Seeds), seed)
		}
	}
	if o.ImageSize != 0 && (o.ImageSize < 32 || o.ImageSize > 4096) {
		return fmt.Errorf("--image_size %d: must be between 32 and 4096, or 0 for the preset's", o.ImageSize)
	}
	if o.Layer < 0 {
		return fmt.Errorf("--layer %d: must be 1 or more, or 0 for the model's own default", o.Layer)
	}
	if o.Epochs < 0 {
		return fmt.Errorf("--epochs %d: must be 0 (the preset's) or more", o.Epochs)
	}
	if o.Data == "" {
		o = o.generated(name)
	}
	s, err := NewStudy(name, o)
	if err != nil {
		return err
	}
	m, err := modelOf(s.Variants[0].Options)
	if err != nil {
		return err
	}
	return hasLayer(m, o.Layer)
}

// base is the recipe that variants change.
func (o StudyOptions) base() (Options, error) {
	out := Options{Method: "cmc"}
	fs := pflag.NewFlagSet("study", pflag.ContinueOnError)
	Bind(fs, &out)
	p, err := LoadPreset("study")
	if err == nil {
		_, err = p.Apply(fs, "cmc")
	}
	if err != nil {
		return out, err
	}
	out.Data.Folder, out.Net.Threads = o.Data, o.Threads
	for name, v := range map[string]string{"model": o.Model, "view": o.View} {
		if v != "" {
			if err := fs.Set(name, v); err != nil {
				return out, err
			}
		}
	}
	if o.Epochs > 0 {
		out.Optim.Epochs = o.Epochs
	}
	if o.ImageSize > 0 {
		out.Data.ImageSize = o.ImageSize
	}
	return out, nil
}

// StudyResult is what a study found.
type StudyResult struct {
	Study    string      `json:"study"`
	Question string      `json:"question"`
	Columns  []string    `json:"columns"`
	Rows     []StudyRow  `json:"rows"`
	Claims   []Verdict   `json:"claims"`
	Recipe   StudyRecipe `json:"recipe"`
	Seconds  float64     `json:"seconds"` // of training and probing done now
}

// StudyRecipe is what all variants share.
type StudyRecipe struct {
	Data      string `json:"data"`
	Train     int    `json:"train_images"`
	Val       int    `json:"val_images"`
	Model     string `json:"model"`
	ImageSize int    `json:"image_size"`
	Epochs    int    `json:"epochs"`
	Layer     int    `json:"layer"`
	Seeds     []int  `json:"seeds"`
}

// StudyRow is one variant: accuracies in [0,1] by column, one a seed.
type StudyRow struct {
	Variant string               `json:"variant"`
	Top1    map[string][]float64 `json:"top1"`
}

// Verdict is a claim beside what was found, with the differences between the two cells seed by seed.
type Verdict struct {
	Claim       string    `json:"claim"`
	Differences []float64 `json:"differences"`
	Holds       bool      `json:"holds"` // on average
	Seeds       int       `json:"seeds"` // in how many
}

// RunStudy trains and judges every variant with every seed. Runs that an earlier call finished are not trained again, one that
// was stopped goes on, and one that another process is at is waited for: several studies may share a folder. It writes NAME.json, NAME.md, and for views NAME.svg, into the folder.
func RunStudy(ctx context.Context, name string, o StudyOptions) (*StudyResult, error) {
	if err := o.Check(name); err != nil {
		return nil, err
	}
	now, cancel := Until(ctx, o.Stop) // what is not training ends at once when told to stop
	defer cancel()
	stopped := func(err error) error {
		if errors.Is(err, context.Canceled) && ctx.Err() == nil {
			return ErrStopped
		}
		return err
	}
	data := o.Data
	if o.Data == "" {
		data = fmt.Sprintf("generated, seed %d", StudyData.Seed)
		o = o.generated(name)
		if err := demoDraw(now, o.Data, StudyData, o.Say); err != nil {
			return nil, stopped(err)
		}
	}
	s, err := NewStudy(name, o)
	if err != nil {
		return nil, err
	}
	base := s.Variants[0].Options
	var sizes [2]int
	for i, half := range []string{"train", "val"} {
		d, err := openData(base, half, true)
		if err != nil {
			return nil, err
		}
		sizes[i] = d.Len()
	}
	for i := range s.Variants {
		optim := &s.Variants[i].Options.Optim
		optim.BatchSize = min(optim.BatchSize, sizes[0])
	}
	res := &StudyResult{Study: s.Name, Question: s.Question, Recipe: StudyRecipe{Data: data, Train: sizes[0], Val: sizes[1], Model: base.Net.Model,
		ImageSize: base.Data.ImageSize, Epochs: base.Optim.Epochs, Layer: o.Layer, Seeds: o.Seeds}}
	began := time.Now()
	for _, v := range s.Variants {
		row := StudyRow{Variant: v.Name, Top1: map[string][]float64{}}
		for _, seed := range o.Seeds {
			found, err := v.run(ctx, now, o, seed)
			for errors.Is(err, checkpoint.ErrInUse) { // another study of the same folder is at it
				if err = wait(now, time.Second); err == nil {
					found, err = v.run(ctx, now, o, seed)
				}
			}
			if err != nil {
				return nil, fmt.Errorf("%s, seed %d: %w", v.Name, seed, stopped(err))
			}
			line := ""
			for _, j := range v.Judged {
				row.Top1[j.Column] = append(row.Top1[j.Column], found[j.Column])
				line += fmt.Sprintf("  %s %.3f", j.Column, found[j.Column])
			}
			o.Say("%s, seed %d:%s", v.Name, seed, line)
		}
		for _, j := range v.Judged {
			res.addColumn(j.Column)
		}
		res.Rows = append(res.Rows, row)
	}
	for _, c := range s.Claims {
		res.Claims = append(res.Claims, res.judge(c))
	}
	res.Seconds = time.Since(began).Seconds()
	return res, res.write(o.Out)
}

// wait sleeps for a while or until ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *StudyResult) addColumn(name string) {
	for _, c := range r.Columns {
		if c == name {
			return
		}
	}
	r.Columns = append(r.Columns, name)
}

// cell is a variant's accuracies in a column.
func (r *StudyResult) cell(variant, column string) []float64 {
	for _, row := range r.Rows {
		if row.Variant == variant {
			return row.Top1[column]
		}
	}
	return nil
}

// judge compares two cells seed by seed.
func (r *StudyResult) judge(c Claim) Verdict {
	v := Verdict{Claim: c.Text}
	left, right := r.cell(c.Left, c.LeftColumn), r.cell(c.Right, c.RightColumn)
	var sum float64
	for i := range min(len(left), len(right)) {
		d := left[i] - right[i]
		v.Differences = append(v.Differences, d)
		sum += d
		if d >= -c.Margin {
			v.Seeds++
		}
	}
	v.Holds = len(v.Differences) > 0 && sum/float64(len(v.Differences)) >= -c.Margin
	return v
}

// run trains one seed of a variant, unless that is done, and probes its columns until now ends.
func (v Variant) run(ctx, now context.Context, o StudyOptions, seed int) (map[string]float64, error) {
	t := v.Options
	t.Run.Seed, t.Run.ModelPath, t.Run.Name = seed, filepath.Join(o.Out, "runs"), v.Key+"-seed"+strconv.Itoa(seed)
	t.Run.Resume, t.Run.TBPath, t.Run.Keep = "auto", "", 1
	if err := Validate(t); err != nil {
		return nil, err
	}
	dir := filepath.Join(t.Run.ModelPath, t.Run.Name)
	steps, err := v.train(ctx, o, t)
	if err != nil {
		return nil, err
	}
	return v.probe(now, o, dir, steps, seed)
}

// train brings a run to its end and returns its number of steps.
func (v Variant) train(ctx context.Context, o StudyOptions, t Options) (int, error) {
	r, err := Prepare(t)
	if err != nil {
		changed := (*changedError)(nil)
		if otherData(filepath.Join(t.Run.ModelPath, t.Run.Name), t) {
			err = fmt.Errorf("%s holds runs of other data: choose another --out", o.Out)
		} else if errors.As(err, &changed) {
			err = fmt.Errorf("%s holds runs of another recipe: %s: give the old values, or choose another --out", o.Out, changed.what)
		}
		return 0, err
	}
	defer r.Close()
	total, done := r.Steps()
	if _, err := os.Stat(filepath.Join(r.Dir, "study.json")); v.Untrained && err == nil {
		return 0, nil
	}
	if v.Untrained {
		return 0, r.saveNow(stages.Plan{Epoch: 1})
	}
	if done == total {
		return total, nil
	}
	m, err := NewMetrics(r.Dir, r.Start())
	if err != nil {
		return 0, err
	}
	r.Stop, r.Observe, r.BeforeSave = o.Stop, m.Write, m.Sync
	return total, errors.Join(r.Train(ctx), m.Close())
}

// studied is what is kept beside a run so that another study need not probe it again.
type studied struct {
	Step  int                `json:"step"`
	Layer int                `json:"layer"`
	Top1  map[string]float64 `json:"top1"`
}

// probe judges every column by the last epoch of a linear probe on cached features, normalised without parameters so that
// one learning rate suits every objective.
func (v Variant) probe(ctx context.Context, o StudyOptions, dir string, steps, seed int) (map[string]float64, error) {
	file := filepath.Join(dir, "study.json")
	had := studied{Top1: map[string]float64{}}
	if text, err := os.ReadFile(file); err == nil {
		if json.Unmarshal(text, &had) != nil || had.Step != steps || had.Layer != o.Layer || had.Top1 == nil {
			had.Top1 = map[string]float64{}
		}
	}
	had.Step, had.Layer = steps, o.Layer
	for _, j := range v.Judged {
		if _, ok := had.Top1[j.Column]; ok {
			continue
		}
		p := DefaultProbe()
		p.ModelPath, p.DataFolder, p.Layer, p.Towers, p.Threads, p.Seed = dir, o.Data, o.Layer, j.Towers, o.Threads, seed
		p.Augment, p.Cache, p.FeatureBN, p.Cosine = false, true, true, true
		p.BatchSize, p.Epochs, p.LR, p.SaveFreq = 50, 40, 0.1, 0
		p.SavePath, p.Name, p.TBPath = filepath.Join(o.Out, "probes", fmt.Sprintf("%s-%s", filepath.Base(dir), j.Column)), "probe", ""
		res, err := Probe(ctx, p)
		if err != nil {
			return nil, err
		}
		had.Top1[j.Column] = res.LastTop1
		os.RemoveAll(p.SavePath) // features and heads; the encoder stays
	}
	return had.Top1, writeJSON(file, had)
}

// spreadOf is the mean and the sample deviation of some accuracies.
func spreadOf(v []float64) (mean, deviation float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	if len(v) < 2 {
		return mean, 0
	}
	for _, x := range v {
		deviation += (x - mean) * (x - mean) / float64(len(v)-1)
	}
	return mean, math.Sqrt(deviation)
}
