package flows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/contraflow/contraflow/io/report"
	"github.com/contraflow/contraflow/io/synth"
	"github.com/contraflow/contraflow/stages"
)

// DemoResult is what contraflow demo --json prints.
type DemoResult struct {
	KNN          float64 `json:"knn"`
	Untrained    float64 `json:"knn_untrained"`
	Histogram    float64 `json:"knn_histogram"`
	ImagesPerSec float64 `json:"images_per_s"`
	Seconds      float64 `json:"seconds"` // of training, kNN included
	EncodeBusy   float64 `json:"encode_busy"`
	Report       string  `json:"report"`
	Run          string  `json:"run"`
}

// demoData is the generated data set of the demonstration.
func demoData(seed int) synth.Options {
	return synth.Options{Classes: 10, PerClass: 30, ValPerClass: 40, Size: 96, Seed: uint64(seed)}
}

// DemoOptions is the recipe of the demonstration: CMC on generated scenes, a few minutes on two cores.
func DemoOptions(seed int) Options {
	o := Options{Method: "cmc"}
	fs := pflag.NewFlagSet("demo", pflag.ContinueOnError)
	Bind(fs, &o)
	p, err := LoadPreset("demo")
	if err == nil {
		_, err = p.Apply(fs, "cmc")
	}
	if err != nil {
		panic(err) // embedded, and tested
	}
	o.Run.Seed, o.Run.Name, o.Run.KNNEvery, o.Run.TBPath = seed, "run-seed"+strconv.Itoa(seed), demoEvery, ""
	return o
}

// demoEvery is how many epochs pass between two kNN scores.
const demoEvery = 10

// Demo draws a data set, trains on it, scores the encoder as it learns, and writes a report. say is told in lines what
// happens; observe of every step. With o.Run.Resume "auto" the newest demonstration of that seed goes on.
func Demo(ctx context.Context, out string, o Options, stop <-chan struct{}, say func(format string, args ...any), observe func(*Run, *StepReport)) (*DemoResult, error) {
	d := demoData(o.Run.Seed)
	o.Data.Folder = filepath.Join(out, "data-seed"+strconv.Itoa(o.Run.Seed))
	o.Run.ModelPath = out
	judging, cancel := Until(ctx, stop) // what is not training ends at once when told to stop
	defer cancel()
	stopped := func(err error) error {
		if errors.Is(err, context.Canceled) && ctx.Err() == nil {
			return errors.New("stopped before the first step: there is nothing to save")
		}
		return err
	}
	if err := demoDraw(judging, o.Data.Folder, d, say); err != nil {
		return nil, stopped(err)
	}
	if o.Run.Resume == "auto" {
		o.Run.Name = lastRun(out, o.Run.Name)
	} else {
		o.Run.Name = freeRun(out, o.Run.Name)
	}
	r, err := Prepare(o)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	r.Stop = stop
	if r.Done() {
		say("nothing left to train: the run ended at step %d", r.Start())
	} else {
		say("%s", r.Describe())
		if err := r.WriteManifest([]string{"contraflow", "demo", "--out", out, "--seed", strconv.Itoa(o.Run.Seed)}, demoSettings(o)); err != nil {
			return nil, err
		}
	}
	res := &DemoResult{Run: r.Dir}
	if res.Histogram, err = r.histogramKNN(judging); err != nil {
		return nil, stopped(err)
	}
	if err := writeJSON(filepath.Join(r.Dir, baselinesFile), map[string]float64{"colour histogram": res.Histogram}); err != nil {
		return nil, err
	}
	j, err := NewJudge(ctx, r, nil)
	if err != nil {
		return nil, stopped(err)
	}
	res.Untrained = j.Untrained()
	if judging.Err() == nil && !r.Done() { // else it stops next
		say("before training: kNN of the untrained encoder %.3f, of colour histograms %.3f", res.Untrained, res.Histogram)
	}
	j.Say = func(string, ...any) {
		say("epoch %d/%d: kNN %.3f (untrained %.3f, histogram %.3f)", j.last.Epoch, o.Optim.Epochs, j.last.KNN, res.Untrained, res.Histogram)
	}
	metrics, err := NewMetrics(r.Dir, r.Start())
	if err != nil {
		return nil, errors.Join(err, j.close())
	}
	images := 0
	start := time.Now()
	r.Observe = func(rep *StepReport) {
		metrics.Write(rep)
		images += rep.Samples
		observe(r, rep)
	}
	r.BeforeSave = metrics.Sync
	err = r.Train(ctx)
	if !r.Done() {
		res.Seconds = time.Since(start).Seconds()
	}
	stats := j.window()
	if err := errors.Join(err, metrics.Close(), j.Finish(ctx, err)); err != nil {
		return nil, err
	}
	res.KNN = j.Last().KNN
	res.ImagesPerSec = float64(images) / max(res.Seconds, 1e-9)
	if st, ok := stats.Stage("encode"); ok {
		res.EncodeBusy = stats.Share(st)
	}
	res.Report, err = WriteReport(judging, r.Dir, ReportOptions{Images: d.Classes * max(d.PerClass, d.ValPerClass), Threads: o.Net.Threads})
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		return nil, ErrStopped
	}
	return res, err
}

// demoSettings lists the options of the demonstration and says which it sets.
func demoSettings(o Options) map[string]Setting {
	out := map[string]Setting{}
	for _, f := range flagTable() {
		if !f.applies(o.Method) {
			continue
		}
		s := Setting{Value: valueOf(f.value(&o)).String(), Origin: "default (" + f.origin + ")"}
		if s.Value != f.standard(o.Method) {
			s.Origin = "demo"
		}
		out[f.name] = s
	}
	return out
}

// demoDraw draws the data set unless an earlier demonstration drew the same one to its end.
func demoDraw(ctx context.Context, dir string, d synth.Options, say func(string, ...any)) error {
	want, err := json.Marshal(d)
	if err != nil {
		return err
	}
	marker := filepath.Join(dir, "synth.json")
	if have, err := os.ReadFile(marker); err == nil && string(have) == string(want) {
		return nil
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s holds something else: move it away, or choose another --out", dir)
	}
	say("drawing %d images of %d×%d into %s", d.Classes*(d.PerClass+d.ValPerClass), d.Size, d.Size, dir)
	part := dir + ".part" // half a drawing is drawn again
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := synth.Write(ctx, part, d); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(part, filepath.Base(marker)), want, 0o644); err != nil {
		return err
	}
	return os.Rename(part, dir)
}

// freeRun is a name for a run folder that does not exist yet.
func freeRun(dir, name string) string {
	for i := 1; ; i++ {
		try := name
		if i > 1 {
			try += "-" + strconv.Itoa(i)
		}
		if _, err := os.Stat(filepath.Join(dir, try)); errors.Is(err, os.ErrNotExist) {
			return try
		}
	}
}

// lastRun is the name of the newest run folder that freeRun gave, or name if there is none.
func lastRun(dir, name string) string {
	last := name
	for i := 2; ; i++ {
		next := name + "-" + strconv.Itoa(i)
		if _, err := os.Stat(filepath.Join(dir, next)); err != nil {
			return last
		}
		last = next
	}
}

// histogramKNN is the accuracy of colour histograms on the run's data.
func (r *Run) histogramKNN(ctx context.Context) (float64, error) {
	val, err := openData(r.o, "val", true)
	if err != nil {
		return 0, err
	}
	var sets [2]*FeatureSet
	for i, data := range []stages.Dataset{r.data, val} {
		decode, err := newDecode(r.o, data, r.decoder, r.views, true)
		if err != nil {
			return 0, err
		}
		if sets[i], err = ColourHistograms(ctx, decode); err != nil {
			return 0, err
		}
	}
	return DefaultKNN.Top1(sets[0], sets[1])
}

// smooth averages a curve down to at most 200 points.
func smooth(points []report.Point) []report.Point { return average(points, 200) }

// average joins neighbouring points until at most so many are left.
func average(points []report.Point, most int) []report.Point {
	k := (len(points) + most - 1) / most
	var out []report.Point
	for i := 0; i < len(points); i += k {
		end := min(len(points), i+k)
		var p report.Point
		for _, q := range points[i:end] {
			p.X += q.X / float64(end-i)
			p.Y += q.Y / float64(end-i)
		}
		out = append(out, p)
	}
	return out
}
