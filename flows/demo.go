package flows

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/io/report"
	"github.com/contraflow/contraflow/io/synth"
	"github.com/contraflow/contraflow/ops/pixel"
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
	o.Run.Seed, o.Run.Name = seed, "run-seed"+strconv.Itoa(seed)
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
	judging, cancel := context.WithCancel(ctx) // what is not training ends at once when told to stop
	defer cancel()
	go func() {
		select {
		case <-stop:
			cancel()
		case <-judging.Done():
		}
	}()
	stopped := func(err error) error {
		if judging.Err() != nil && ctx.Err() == nil {
			return ErrStopped
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
	say("%s", r.Describe())
	res := &DemoResult{Run: r.Dir}
	m, err := r.demoBaselines(judging, d, res)
	if err != nil {
		return nil, stopped(err)
	}
	say("before training: kNN of the untrained encoder %.3f, of colour histograms %.3f", res.Untrained, res.Histogram)

	metrics, err := NewMetrics(r.Dir, r.Start())
	if err != nil {
		return nil, err
	}
	page := &demoCurves{knn: report.Series{Name: "trained", Points: []report.Point{{X: 0, Y: res.Untrained}}}}
	if err := page.before(filepath.Join(r.Dir, "metrics.jsonl")); err != nil {
		return nil, err
	}
	images := 0
	start := time.Now()
	r.Observe = func(rep *StepReport) {
		metrics.Write(rep)
		page.add(rep)
		images += rep.Samples
		observe(r, rep)
	}
	r.Between = func(ctx context.Context, epoch int) error {
		if epoch%demoEvery != 0 {
			return nil
		}
		v, err := m.KNN(judging)
		if judging.Err() != nil && ctx.Err() == nil {
			return nil // encode stops next
		}
		if err != nil {
			return err
		}
		page.knn.Points = append(page.knn.Points, report.Point{X: float64(epoch), Y: v})
		say("epoch %d/%d: kNN %.3f (untrained %.3f, histogram %.3f)", epoch, o.Optim.Epochs, v, res.Untrained, res.Histogram)
		return nil
	}
	r.BeforeSave = metrics.Sync
	r.Graph()
	window := r.Window(time.Second)
	if err := errors.Join(r.Train(ctx), metrics.Close()); err != nil {
		return nil, err
	}
	res.Seconds = time.Since(start).Seconds()
	res.ImagesPerSec = float64(images) / res.Seconds
	stats := window()
	for _, st := range stats.Stages {
		if st.Name == "encode" {
			res.EncodeBusy = stats.Share(st)
		}
	}
	if res.KNN, err = m.KNN(ctx); err != nil {
		return nil, err
	}
	page.knn.Points = append(page.knn.Points, report.Point{X: float64(o.Optim.Epochs), Y: res.KNN})
	res.Report = filepath.Join(r.Dir, "report.html")
	if err := r.demoReport(ctx, res, m, page, stats); err != nil {
		return nil, err
	}
	return res, nil
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

// demoBaselines renders what the demonstration judges by and scores the untrained encoder and colour histograms. A resumed
// run draws its first weights again for that, which must not lose those that it goes on with.
func (r *Run) demoBaselines(ctx context.Context, d synth.Options, res *DemoResult) (*Monitor, error) {
	m, err := NewMonitor(r, d.Classes*max(d.PerClass, d.ValPerClass), ctx)
	if err != nil {
		return nil, err
	}
	if res.Histogram, err = r.histogramKNN(ctx); err != nil {
		return nil, err
	}
	if r.sampler.Start == 0 {
		res.Untrained, err = m.KNN(ctx)
		return m, err
	}
	now, err := stages.TakeSnapshot(r.towers, stages.Plan{}, nil)
	if err != nil {
		return nil, err
	}
	for v, p := range r.net.params {
		if err := errors.Join(initialise(r.o, p, v), resetBuffers(p)); err != nil {
			return nil, err
		}
	}
	if res.Untrained, err = m.KNN(ctx); err != nil {
		return nil, err
	}
	return m, now.Restore(r.towers)
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

// demoCurves collects what the report draws.
type demoCurves struct {
	knn   report.Series
	loss  map[string][]report.Point
	names []string
}

func (c *demoCurves) add(rep *StepReport) {
	for _, v := range rep.Values {
		c.point(v.Name, rep.Plan.Step, v.V)
	}
}

func (c *demoCurves) point(name string, step int, v float64) {
	if c.loss == nil {
		c.loss = map[string][]report.Point{}
	}
	if _, seen := c.loss[name]; !seen {
		c.names = append(c.names, name)
	}
	c.loss[name] = append(c.loss[name], report.Point{X: float64(step), Y: v})
}

// before reads the curves of the steps that an earlier part of the run has done.
func (c *demoCurves) before(metrics string) error {
	text, err := os.ReadFile(metrics)
	if err != nil {
		return err
	}
	for _, line := range bytes.Split(text, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var v map[string]any
		if err := json.Unmarshal(line, &v); err != nil {
			return fmt.Errorf("%s: %w", metrics, err)
		}
		step, _ := v["step"].(float64)
		for _, name := range []string{"l_loss", "l_prob", "ab_loss", "ab_prob"} {
			if y, ok := v[name].(float64); ok {
				c.point(name, int(step), y)
			}
		}
	}
	return nil
}

// smooth averages a curve down to at most 200 points.
func smooth(points []report.Point) []report.Point {
	k := (len(points) + 199) / 200
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

// demoReport writes report.html.
func (r *Run) demoReport(ctx context.Context, res *DemoResult, m *Monitor, c *demoCurves, stats contraflow.Stats) error {
	p := report.Page{
		Title: "contraflow demo: contrastive multiview coding on generated scenes",
		Summary: []report.Fact{
			{Name: "kNN top-1", Value: fmt.Sprintf("%.1f %%", 100*res.KNN), Note: "validation images"},
			{Name: "untrained encoder", Value: fmt.Sprintf("%.1f %%", 100*res.Untrained), Note: "same network, no training"},
			{Name: "colour histogram", Value: fmt.Sprintf("%.1f %%", 100*res.Histogram), Note: "colour alone"},
			{Name: "speed", Value: fmt.Sprintf("%.0f images/s", res.ImagesPerSec), Note: r.net.device.Name()},
			{Name: "training", Value: fmt.Sprintf("%.0f s", res.Seconds), Note: fmt.Sprintf("%d steps, kNN included", r.sampler.Steps())},
			{Name: "encode busy", Value: fmt.Sprintf("%.0f %%", 100*res.EncodeBusy), Note: "after the first second"},
		},
		Verdict:  stats.Verdict(),
		Stages:   stats.StageRows(),
		Commands: []string{fmt.Sprintf("contraflow demo --seed %d", r.o.Run.Seed), fmt.Sprintf("contraflow knn --model_path %s --data_folder %s", r.Dir, r.o.Data.Folder)},
	}
	losses := report.Chart{Title: "Loss of each view's query", XLabel: "step", YLabel: "nats"}
	probs := report.Chart{Title: "Mean logit of the positive", XLabel: "step", YLabel: "s/T"}
	for _, name := range c.names {
		s := report.Series{Name: name, Points: smooth(c.loss[name])}
		if len(name) > 5 && name[len(name)-5:] == "_prob" {
			probs.Series = append(probs.Series, s)
		} else {
			losses.Series = append(losses.Series, s)
		}
	}
	p.Charts = []report.Chart{losses, {Title: "kNN accuracy", XLabel: "epoch", YLabel: "top-1", Series: []report.Series{c.knn},
		Lines: []report.Line{{Name: "untrained", Y: res.Untrained}, {Name: "histogram", Y: res.Histogram}}}, probs}
	var err error
	if p.Queries, err = r.retrieval(ctx, m, 10); err != nil {
		return err
	}
	points, err := report.PCA(m.Val.Rows, m.Val.Dim)
	if err != nil {
		return err
	}
	p.Map = &report.Scatter{Title: "principal components", Points: points, Labels: m.Val.Labels, Classes: m.Classes}
	for _, f := range flagTable() {
		if f.applies(r.o.Method) {
			origin := f.origin
			if v := valueOf(f.value(&r.o)).String(); v != f.standard(r.o.Method) {
				origin = "demo"
			}
			p.Options = append(p.Options, report.Option{Name: "--" + f.name, Value: valueOf(f.value(&r.o)).String(), Origin: origin})
		}
	}
	f, err := os.Create(res.Report)
	if err != nil {
		return err
	}
	return errors.Join(report.Write(f, p), f.Close())
}

// retrieval picks validation images, one a class as far as they go, and finds their nearest training images.
func (r *Run) retrieval(ctx context.Context, m *Monitor, n int) ([]report.Query, error) {
	first := map[int]int{}
	for i, l := range m.Val.Labels {
		if _, seen := first[l]; !seen {
			first[l] = i
		}
	}
	var picks []int
	for _, i := range first {
		picks = append(picks, i)
	}
	sort.Ints(picks)
	var out []report.Query
	for _, i := range picks[:min(n, len(picks))] {
		one := &FeatureSet{Dim: m.Val.Dim, Rows: m.Val.Row(i), Labels: []int{m.Val.Labels[i]}}
		hits, err := KNN{K: 8, T: 1}.Search(m.Train, one)
		if err != nil {
			return nil, err
		}
		q := report.Query{Class: m.Classes[m.Val.Labels[i]]}
		img, err := r.picture(ctx, m.valData, m.Val.Index[i])
		if err != nil {
			return nil, err
		}
		if q.Image, err = report.DataURI(img); err != nil {
			return nil, err
		}
		for _, h := range hits[0] {
			img, err := r.picture(ctx, m.trainData, m.Train.Index[h.Row])
			if err != nil {
				return nil, err
			}
			uri, err := report.DataURI(img)
			if err != nil {
				return nil, err
			}
			q.Neighbours = append(q.Neighbours, report.Hit{Image: uri, Class: m.Classes[m.Train.Labels[h.Row]],
				Similarity: h.Similarity, Right: m.Train.Labels[h.Row] == m.Val.Labels[i]})
		}
		out = append(out, q)
	}
	return out, nil
}

// picture decodes one image for showing.
func (r *Run) picture(ctx context.Context, data stages.Dataset, i int) (image.Image, error) {
	raw, err := data.Read(ctx, i, nil)
	if err != nil {
		return nil, err
	}
	var p pixel.Picture
	if err := r.decoder.Decode(&p, raw); err != nil {
		return nil, err
	}
	img := image.NewRGBA(image.Rect(0, 0, p.W, p.H))
	for k := range p.W * p.H {
		copy(img.Pix[4*k:4*k+3], p.Pix[3*k:3*k+3])
		img.Pix[4*k+3] = 255
	}
	return img, nil
}
