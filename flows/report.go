package flows

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/contraflow/contraflow/io/report"
)

// ReportOptions say what WriteReport does besides reading the run folder.
type ReportOptions struct {
	DataFolder string // of the pictures; empty takes the run's
	Out        string // empty is report.html in the run folder
	Images     int    // largest number of images of train and of val that are embedded; 0 embeds none
	Threads    int
	BadSamples *float64                     // largest share of unreadable images; nil is that of the run
	OnBad      func(name string, err error) // told of those, which are left out
}

// DefaultReport embeds up to 2000 images of each half.
var DefaultReport = ReportOptions{Images: 2000}

// WriteReport writes the report of a run, of training or of a probe, and returns its path. What needs images is left out, with
// a note, when they cannot be read.
func WriteReport(ctx context.Context, dir string, o ReportOptions) (string, error) {
	r, err := readRun(dir)
	if err != nil {
		return "", err
	}
	out := o.Out
	if out == "" {
		out = filepath.Join(dir, "report.html")
	} else if err := takes(out); err != nil {
		return "", err
	}
	p := &report.Page{Title: "contraflow: " + r.name, Subtitle: r.subtitle()}
	p.Charts = r.charts()
	r.stageSection(p)
	p.Ridges = r.ridges()
	if r.manifest.Method == "probe" || r.probe != nil {
		r.probeSection(p)
	} else if err := r.encoderSection(ctx, p, o); err != nil {
		return "", err
	}
	r.summary(p)
	p.Options = r.options()
	p.Commands = append(r.commands(), p.Commands...)
	return out, ReplaceFile(out, func(w io.Writer) error { return report.Write(w, *p) })
}

// subtitle says what ran on what.
func (r *runRecord) subtitle() string {
	m := r.manifest
	if m.Method == "" {
		return ""
	}
	model := r.setting("model")
	if r.probe != nil {
		model = "of " + r.probe.Model
	}
	return fmt.Sprintf("%s %s on %s of %s; %s, decoder %s, %s, contraflow %s", m.Method, model, counted(m.Images, "image"), counted(m.Classes, "class"), m.Device, m.Decoder, m.OS, m.Version)
}

// series is a column of the steps, at most 200 points.
func (r *runRecord) series(name string) report.Series {
	s := report.Series{Name: name}
	for _, m := range r.steps {
		if v, ok := r.value(m, name); ok {
			s.Points = append(s.Points, report.Point{X: float64(m.Step), Y: v})
		}
	}
	s.Points = smooth(s.Points)
	return s
}

// epochPoints is the largest number of points of a curve over epochs: more than a usual run has, so that every score is shown.
const epochPoints = 1000

// lastMean is the mean of a column over the images of the last epoch.
func (r *runRecord) lastMean(name string) (mean float64, ok bool) {
	n := 0
	for i := len(r.steps) - 1; i >= 0 && r.steps[i].Epoch == r.steps[len(r.steps)-1].Epoch; i-- {
		if v, has := r.value(r.steps[i], name); has {
			size := r.size(r.steps[i].Step)
			mean += v * float64(size)
			n += size
		}
	}
	return mean / float64(max(n, 1)), n > 0
}

// size is how many images the batch of a step has; 1 when run.json does not tell.
func (r *runRecord) size(step int) int {
	n := r.manifest.Images
	batch := min(r.whole("batch_size"), n)
	if batch < 1 {
		return 1
	}
	per := (n + batch - 1) / batch
	if r.setting("drop_last") == "true" {
		per = n / batch
	}
	return min(batch, n-step%per*batch)
}

// speed is images a second over stretches of steps: short steps and long ones count by their time.
func (r *runRecord) speed() report.Series {
	s := report.Series{Name: "images/s"}
	for _, m := range r.steps {
		if v, _ := r.value(m, "images_per_s"); v > 0 {
			s.Points = append(s.Points, report.Point{X: float64(m.Step), Y: 1 / v})
		}
	}
	s.Points = average(s.Points, 50)
	for i := range s.Points {
		s.Points[i].Y = 1 / s.Points[i].Y
	}
	return s
}

// lastSpeed is images a second over the last epoch.
func (r *runRecord) lastSpeed() (float64, bool) {
	var seconds float64
	n := 0
	for i := len(r.steps) - 1; i >= 0 && r.steps[i].Epoch == r.steps[len(r.steps)-1].Epoch; i-- {
		if v, _ := r.value(r.steps[i], "images_per_s"); v > 0 {
			size := r.size(r.steps[i].Step)
			seconds += float64(size) / v
			n += size
		}
	}
	return float64(n) / max(seconds, 1e-12), n > 0
}

// lossUnit is the unit of the loss.
func (r *runRecord) lossUnit() string {
	switch {
	case r.manifest.Method != "predict":
		return "nats"
	case r.setting("predict_loss") == "L1":
		return "mean |p-v|"
	}
	return "mean (p-v)²"
}

// charts are the curves that the run folder has numbers for.
func (r *runRecord) charts() (out []report.Chart) {
	loss := report.Chart{Title: "Loss", XLabel: "step", YLabel: r.lossUnit()}
	prob := report.Chart{Title: "Probability of the positive", XLabel: "step", YLabel: "exp(s/T)/Z"}
	if r.setting("softmax") == "true" {
		prob.Title, prob.YLabel = "Mean logit of the positive", "s/T"
	}
	acc := report.Chart{Title: "Accuracy of training batches", XLabel: "step", YLabel: "share"}
	rate := report.Chart{Title: "Learning rate", XLabel: "step", YLabel: "rate", Series: []report.Series{r.series("lr")}}
	speed := report.Chart{Title: "Speed", XLabel: "step", YLabel: "images/s", Series: []report.Series{r.speed()}}
	for _, name := range r.columns {
		switch {
		case strings.HasSuffix(name, "loss"):
			loss.Series = append(loss.Series, r.series(name))
		case strings.HasSuffix(name, "_prob"):
			prob.Series = append(prob.Series, r.series(name))
		case strings.Contains(name, "acc"):
			acc.Series = append(acc.Series, r.series(name))
		}
	}
	if len(loss.Series) == 2 { // the whole is its only part
		loss.Series = loss.Series[:1]
	}
	out = append(out, loss)
	if len(prob.Series) > 0 {
		out = append(out, prob)
	}
	out = append(out, r.knnCharts()...)
	if len(r.epochs) > 0 {
		out = append(out, r.probeCharts()...)
	} else if len(acc.Series) > 0 {
		out = append(out, acc)
	}
	if age := r.queueAge(); age != nil {
		out = append(out, *age)
	}
	if sims := r.simMeans(); sims != nil {
		out = append(out, *sims)
	}
	return append(out, rate, speed)
}

// knnCharts are kNN accuracy over epochs and over wall time.
func (r *runRecord) knnCharts() []report.Chart {
	if len(r.knn) == 0 {
		return nil
	}
	byEpoch, byTime := report.Series{Name: "kNN top-1"}, report.Series{Name: "kNN top-1"}
	for _, s := range r.knn {
		byEpoch.Points = append(byEpoch.Points, report.Point{X: float64(s.Epoch), Y: s.KNN})
		byTime.Points = append(byTime.Points, report.Point{X: s.Seconds, Y: s.KNN})
	}
	byEpoch.Points, byTime.Points = average(byEpoch.Points, epochPoints), average(byTime.Points, epochPoints)
	var lines []report.Line
	if r.knn[0].Epoch == 0 {
		lines = append(lines, report.Line{Name: "untrained", Y: r.knn[0].KNN})
	}
	for _, name := range sortedKeys(r.baselines) {
		lines = append(lines, report.Line{Name: name, Y: r.baselines[name]})
	}
	return []report.Chart{
		{Title: "kNN accuracy", XLabel: "epoch", YLabel: "top-1", Series: []report.Series{byEpoch}, Lines: lines},
		{Title: "kNN accuracy against wall time", XLabel: "seconds of training", YLabel: "top-1", Series: []report.Series{byTime}, Lines: lines},
	}
}

// probeCharts are a probe's accuracies and losses over epochs, and accuracy over wall time.
func (r *runRecord) probeCharts() []report.Chart {
	column := func(label, name, x string) report.Series {
		s := report.Series{Name: label}
		for _, m := range r.epochs {
			at := float64(m.Epoch)
			if x != "" {
				at, _ = r.value(m, x)
			}
			if v, ok := r.value(m, name); ok {
				s.Points = append(s.Points, report.Point{X: at, Y: v})
			}
		}
		s.Points = average(s.Points, epochPoints)
		return s
	}
	return []report.Chart{
		{Title: "Accuracy", XLabel: "epoch", YLabel: "share", Series: []report.Series{column("val top-1", "test_acc", ""), column("val top-5", "test_acc5", ""),
			column("train top-1", "train_acc", ""), column("train top-5", "train_acc5", "")}},
		{Title: "Loss of an epoch", XLabel: "epoch", YLabel: "nats", Series: []report.Series{column("val", "test_loss", ""), column("train", "train_loss", "")}},
		{Title: "Accuracy against wall time", XLabel: "seconds", YLabel: "share", Series: []report.Series{column("val top-1", "test_acc", "seconds"), column("val top-5", "test_acc5", "seconds")}},
	}
}

// queueAge is how many steps old MoCo's keys are: the oldest and the mean of those that training has pushed.
func (r *runRecord) queueAge() *report.Chart {
	k := r.whole("nce_k")
	if r.manifest.Method != "moco" || k < 1 || r.whole("batch_size") < 1 || r.manifest.Images < 1 || len(r.steps) == 0 {
		return nil
	}
	oldest, mean := report.Series{Name: "oldest key that was pushed"}, report.Series{Name: "mean"}
	last := r.steps[len(r.steps)-1].Step
	first, held, ages := 0, 0, 0 // batches first … step are in the queue: held keys, whose ages add up to ages
	for step := 0; step <= last; step++ {
		ages += held
		held += r.size(step)
		for held-r.size(first) >= k {
			held -= r.size(first)
			ages -= r.size(first) * (step - first)
			first++
		}
		if step%max(1, last/200) == 0 || step == last {
			x := float64(step)
			oldest.Points = append(oldest.Points, report.Point{X: x, Y: float64(step - first)})
			mean.Points = append(mean.Points, report.Point{X: x, Y: float64(ages) / float64(held)})
		}
	}
	return &report.Chart{Title: "Age of the queue's keys", XLabel: "step", YLabel: "steps", Series: []report.Series{oldest, mean}}
}

// simMeans are the mean similarities of an epoch's first batch.
func (r *runRecord) simMeans() *report.Chart {
	if len(r.sims) < 2 {
		return nil
	}
	pos, neg := report.Series{Name: "positives"}, report.Series{Name: "negatives"}
	for _, s := range r.sims {
		pos.Points = append(pos.Points, report.Point{X: float64(s.Epoch), Y: s.PosMean})
		neg.Points = append(neg.Points, report.Point{X: float64(s.Epoch), Y: s.NegMean})
	}
	pos.Points, neg.Points = average(pos.Points, epochPoints), average(neg.Points, epochPoints)
	return &report.Chart{Title: "Mean similarity", XLabel: "epoch", YLabel: "cosine", Series: []report.Series{pos, neg}}
}

// ridges picks up to eight epochs, evenly.
func (r *runRecord) ridges() *report.Ridges {
	if len(r.sims) == 0 {
		return nil
	}
	others := "drawn negatives at the start of an epoch, before the memory learns of the batch"
	if r.manifest.Method == "moco" {
		others = "keys of the queue at the start of an epoch, before those of the batch enter it"
	}
	out := &report.Ridges{Low: -1, High: 1, XLabel: "cosine of query and key",
		Note: "Cosines of one batch's queries with their positives and with " + others + ". Each histogram is scaled to its fullest bin."}
	rows := min(8, len(r.sims))
	for i := range rows {
		s := r.sims[i*(len(r.sims)-1)/max(rows-1, 1)]
		out.Rows = append(out.Rows, report.Ridge{Label: "epoch " + strconv.Itoa(s.Epoch), Positive: s.Positive, Negative: s.Negative})
	}
	return out
}

func (r *runRecord) stageSection(p *report.Page) {
	if r.stages == nil {
		return
	}
	p.Verdict, p.Stages = r.stages.Verdict, r.stages.Rows
	if r.stages.Drawing != "" {
		p.Drawing = report.SVG([]byte(r.stages.Drawing))
	}
}

// probeSection is what only a probe has.
func (r *runRecord) probeSection(p *report.Page) {
	if r.probe == nil {
		p.Notes = append(p.Notes, "The probe has not come to its end: there is no result.json.")
		return
	}
	noteBad(p, r.probe.Bad)
	c := report.Confusion{Note: "Validation images of the last epoch.", Classes: r.probe.ClassNames, Counts: r.probe.Confusion}.Most(30)
	p.Confused = &c
}

// summary fills the facts that the numbers of the folder give; the encoder's come first.
func (r *runRecord) summary(p *report.Page) {
	fact := func(name, value, note string) {
		p.Summary = append(p.Summary, report.Fact{Name: name, Value: value, Note: note})
	}
	if r.probe != nil {
		fact("top-1", percent(r.probe.Top1), fmt.Sprintf("best epoch, %d of %d", r.probe.Best, r.probe.Epochs))
		if r.probe.Top5 != nil {
			fact("top-5", percent(*r.probe.Top5), "of the same epoch")
		}
		fact("layer", strconv.Itoa(r.probe.Layer), fmt.Sprintf("%s, %d features", r.probe.Model, r.probe.Features))
		fact("classes", strconv.Itoa(r.probe.Classes), "")
	}
	if n := len(r.knn); n > 0 && p.Confused == nil {
		fact("kNN top-1", percent(r.knn[n-1].KNN), fmt.Sprintf("epoch %d", r.knn[n-1].Epoch))
	}
	if len(r.knn) > 0 && r.knn[0].Epoch == 0 {
		fact("untrained encoder", percent(r.knn[0].KNN), "kNN top-1, same network, no training")
	}
	for _, name := range sortedKeys(r.baselines) {
		fact(name, percent(r.baselines[name]), "kNN top-1, for comparison")
	}
	if n := len(r.steps); n > 0 {
		last := r.steps[n-1]
		if v, ok := r.lastMean("loss"); ok {
			fact("loss", strconv.FormatFloat(v, 'g', 4, 64), "mean of the last epoch")
		}
		fact("steps", strconv.Itoa(last.Step+1), fmt.Sprintf("epoch %d", last.Epoch))
		if v, ok := r.lastSpeed(); ok {
			fact("speed", fmt.Sprintf("%.0f images/s", v), "mean of the last epoch's steps")
		}
	}
}

func percent(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }

func sortedKeys(m map[string]float64) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// options lists the settings of run.json in the order of the help.
func (r *runRecord) options() (out []report.Option) {
	done := map[string]bool{}
	add := func(name string) {
		if s, ok := r.manifest.Settings[name]; ok && !done[name] {
			done[name] = true
			out = append(out, report.Option{Name: "--" + name, Value: s.Value, Origin: s.Origin})
		}
	}
	if r.manifest.Method == "probe" {
		for _, f := range probeFlags() {
			add(f.name)
		}
	}
	for _, f := range flagTable() {
		add(f.name)
	}
	return out
}

// commands reproduce the run and go on with it.
func (r *runRecord) commands() []report.Command {
	again := r.command(false)
	if again == "" {
		return nil
	}
	out := []report.Command{{Does: "Reproduce", Line: again}}
	if !strings.HasPrefix(again, "contraflow demo") {
		out = append(out, report.Command{Does: "Resume after a stop, or with more epochs", Line: r.command(true)})
	}
	return out
}
