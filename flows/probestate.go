package flows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/io/tensorboard"
	"github.com/contraflow/contraflow/io/torch"
	"github.com/contraflow/contraflow/stages"
)

// What a probe's checkpoint keeps beside tensors.
const (
	metaProbe    = "probe"          // ProbeOptions
	metaProgress = "probe_progress" // probeProgress
	adamFirst    = "adam/exp_avg/"
	adamSecond   = "adam/exp_avg_sq/"
	normPrefix   = "feature_bn/"
)

// probeProgress is where a probe stands.
type probeProgress struct {
	Step      int       `json:"step"` // optimiser steps done
	AdamSteps int       `json:"adam_steps"`
	LR        float64   `json:"lr"`
	Train     probeSums `json:"train"` // of the running epoch
	Test      probeSums `json:"test"`  // of the last validation
	Validated int       `json:"validated"`
	BestTop1  float64   `json:"best_top1"`
	BestTop5  *float64  `json:"best_top5"` // of that epoch; nil when nobody knows, as after a .pth of the reference
	BestEpoch int       `json:"best_epoch"`
}

// probeSums are sums over samples.
type probeSums struct {
	Samples int     `json:"samples"`
	Bad     int     `json:"bad"` // that could not be read, and count in nothing else
	Loss    float64 `json:"loss"`
	Top1    float64 `json:"top1"`
	Top5    float64 `json:"top5"`
}

func (s *probeSums) add(p *ProbeStep) {
	n := float64(p.Samples)
	s.Samples, s.Bad = s.Samples+p.Samples, s.Bad+len(p.Plan.Index)-p.Samples
	s.Loss, s.Top1, s.Top5 = s.Loss+n*p.Loss, s.Top1+n*p.Top1, s.Top5+n*p.Top5
}

func (s probeSums) mean(sum float64) float64 { return sum / float64(max(s.Samples, 1)) }

// Averages are loss, top-1 and top-5 of the running training epoch.
func (r *ProbeRun) Averages() (loss, top1, top5 float64) {
	t := r.progress.Train
	return t.mean(t.Loss), t.mean(t.Top1), t.mean(t.Top5)
}

// state is a checkpoint of the probe. Its tensors are named as a .pth of the reference is read, so that contraflow convert
// writes one.
func (r *ProbeRun) state(h *HeadState) (*checkpoint.State, error) {
	p := r.progress
	p.AdamSteps = h.Steps
	s := &checkpoint.State{Step: p.Step, Epoch: p.Validated, Meta: map[string]json.RawMessage{}}
	for i, name := range h.Names {
		s.Tensors = append(s.Tensors, raw.FromFloat32(classifierPrefix+name, h.Shapes[i], h.Values[i]))
		if h.Second == nil {
			s.Tensors = append(s.Tensors, raw.FromFloat32(velocityPrefix+classifierPrefix+name, h.Shapes[i], h.Moment[i]))
			continue
		}
		s.Tensors = append(s.Tensors, raw.FromFloat32(adamFirst+name, h.Shapes[i], h.Moment[i]), raw.FromFloat32(adamSecond+name, h.Shapes[i], h.Second[i]))
	}
	if h.Norm != nil && len(h.Norm.Mean) > 0 {
		s.Tensors = append(s.Tensors, raw.FromFloat32(normPrefix+"running_mean", []int{len(h.Norm.Mean)}, h.Norm.Mean),
			raw.FromFloat32(normPrefix+"running_var", []int{len(h.Norm.Var)}, h.Norm.Var))
	}
	s.Tensors = append(s.Tensors, raw.FromFloat32("best_acc1", []int{1}, []float32{float32(100 * p.BestTop1)}))
	opt, err := r.pthOptions()
	if err != nil {
		return nil, err
	}
	s.Meta[metaOpt] = opt
	numbers := pthOptimizer{LR: p.LR, Momentum: r.o.Momentum, WeightDecay: r.o.WeightDecay}
	if a := r.head.Adam; a != nil {
		numbers.Adam = &pthAdam{a.Beta1, a.Beta2, a.Eps, h.Steps}
	}
	return s, errors.Join(setMeta(s, metaProbe, r.o), setMeta(s, metaInputs, r.inputs), setMeta(s, metaProgress, p), setMeta(s, metaOptimizer, numbers))
}

// pthOptions are the options as the reference's scripts keep them, flag names to values.
func (r *ProbeRun) pthOptions() (json.RawMessage, error) {
	out := torch.NewDict(torch.PlainDict)
	o := r.o
	for _, f := range probeFlags() {
		switch v := f.value(&o).(type) {
		case *string:
			out.Set(f.name, *v)
		case *int:
			out.Set(f.name, int64(*v))
		case *float64:
			out.Set(f.name, *v)
		case *bool:
			out.Set(f.name, *v)
		case *intList:
			l := &torch.List{}
			for _, i := range *v {
				l.Items = append(l.Items, int64(i))
			}
			out.Set(f.name, l)
		default:
			return nil, fmt.Errorf("--%s has a type that no .pth can hold: %T", f.name, v)
		}
	}
	out.Set("n_label", int64(r.head.Classes)).Set("model_name", filepath.Base(r.Dir)).Set("save_folder", r.Dir)
	return appendJSON(nil, out), nil
}

// save writes a checkpoint folder.
func (r *ProbeRun) save(h *HeadState) error {
	s, err := r.state(h)
	if err != nil {
		return err
	}
	_, err = checkpoint.Save(checkpoint.Disk{}, r.Dir, s, checkpoint.Options{Keep: r.o.Keep})
	return err
}

// saveBest keeps the best epoch: a checkpoint folder of its own, and the .pth that the reference writes.
func (r *ProbeRun) saveBest(h *HeadState) error {
	s, err := r.state(h)
	if err != nil {
		return err
	}
	if _, err := checkpoint.Save(checkpoint.Disk{}, filepath.Join(r.Dir, "best"), s, checkpoint.Options{Keep: 1}); err != nil {
		return err
	}
	return r.savePth(fmt.Sprintf("%s_layer%d.pth", r.encoder.Model.Name, r.o.Layer), h)
}

// savePth writes a checkpoint as the reference's probes do: opt, epoch, classifier, best_acc1, optimizer.
func (r *ProbeRun) savePth(name string, h *HeadState) error {
	s, err := r.state(h)
	if err != nil {
		return err
	}
	c, err := toPth(s)
	if err != nil {
		return err
	}
	return ReplaceFile(filepath.Join(r.Dir, name), func(w io.Writer) error {
		return torch.Write(w, c.Value(), torch.WriteOptions{PlainNamespace: true, Name: strings.TrimSuffix(name, ".pth")})
	})
}

// resume restores the checkpoint that --resume names, if there is one.
func (r *ProbeRun) resume() error {
	path, err := resumePath(r.Dir, r.o.Resume)
	if path == "" || err != nil {
		return err
	}
	s, err := ReadState(path)
	if err == nil {
		err = r.restore(s)
	}
	if err != nil {
		return fmt.Errorf("--resume %s: %w", path, err)
	}
	return nil
}

func (r *ProbeRun) restore(s *checkpoint.State) error {
	diff, err := r.inputs.changes(s)
	if err != nil {
		return err
	}
	if text, ok := s.Meta[metaProbe]; ok {
		saved := DefaultProbe()
		if err := json.Unmarshal(text, &saved); err != nil {
			return err
		}
		diff = append(probeChanges(saved, r.o), diff...)
	}
	told, err := agrees(diff, r.o.Force)
	if err != nil {
		return err
	}
	r.Warnings = append(r.Warnings, told...)
	h := &HeadState{}
	take := func(name string) []float32 {
		if t := s.Tensor(name); t != nil {
			return t.Float32s()
		}
		return nil
	}
	for _, t := range r.head.tensors {
		v := s.Tensor(classifierPrefix + t.spec.Name)
		if v == nil {
			return fmt.Errorf("it has no tensor %s: it is not a probe of %s", t.spec.Name, r.encoder.Model.Name)
		}
		h.Names, h.Shapes, h.Values = append(h.Names, t.spec.Name), append(h.Shapes, v.Shape), append(h.Values, v.Float32s())
		if r.o.Adam {
			h.Moment, h.Second = append(h.Moment, take(adamFirst+t.spec.Name)), append(h.Second, take(adamSecond+t.spec.Name))
		} else {
			h.Moment = append(h.Moment, take(velocityPrefix+classifierPrefix+t.spec.Name))
		}
	}
	p := &r.progress
	if text, ok := s.Meta[metaProgress]; ok {
		if err := json.Unmarshal(text, p); err != nil {
			return err
		}
	} else { // a .pth of the reference counts whole epochs, and keeps the best accuracy in percent
		p.Validated, p.Step = s.Epoch, s.Epoch*r.sampler[0].PerEpoch()
		if best := take("best_acc1"); len(best) == 1 {
			p.BestTop1, p.BestEpoch = float64(best[0])/100, s.Epoch
		}
		numbers, _, err := optimizerOf(s)
		if err != nil {
			return err
		}
		if a := numbers.Adam; a != nil && r.o.Adam {
			p.AdamSteps = a.Steps
		}
		line, err := r.differences(s)
		if err != nil {
			return err
		}
		if line != "" {
			r.Warnings = append(r.Warnings, line)
		}
	}
	if h.Steps = p.AdamSteps; r.o.Adam && h.Steps > 0 && h.Moment[0] == nil {
		return errors.New("it has no moments of Adam: the probe was trained with SGD")
	}
	if r.norm != nil {
		r.norm.Mean, r.norm.Var = take(normPrefix+"running_mean"), take(normPrefix+"running_var")
		if len(r.norm.Mean) != r.frozen.Dim || len(r.norm.Var) != r.frozen.Dim {
			r.norm.Mean, r.norm.Var = nil, nil
		}
	}
	r.sampler[0].Start = p.Step
	return r.head.Restore(h)
}

// readTime finds out how long the parts before took. Of a file that cannot be read it takes what can be: whoever shows it names that.
func (r *ProbeRun) readTime() {
	var lines []struct {
		Step    int
		Seconds float64 // of an epoch
	}
	_ = readLines(filepath.Join(r.Dir, "metrics.jsonl"), &lines)
	for _, l := range lines {
		if l.Step < r.sampler[0].Start {
			r.before = max(r.before, l.Seconds)
		}
	}
}

// start opens what a run writes to, and computes cached features, unless it is told to stop meanwhile: that is ErrStopped.
func (r *ProbeRun) start(ctx context.Context) (err error) {
	if r.o.Cache && r.cached[0] == nil {
		until, cancel := Until(ctx, r.Stop)
		defer cancel()
		err := r.openCache(until)
		if errors.Is(err, context.Canceled) && ctx.Err() == nil {
			return ErrStopped
		}
		if err != nil {
			return err
		}
	}
	if r.metrics, err = NewMetrics(r.Dir, r.sampler[0].Start); err != nil {
		return err
	}
	if r.o.TBPath == "" {
		return nil
	}
	if r.tb, err = tensorboard.Create(r.eventDir()); err != nil {
		return errors.Join(fmt.Errorf("--tb_path: %w", err), r.metrics.Close())
	}
	return nil
}

// eventDir is the folder of the probe's TensorBoard events.
func (r *ProbeRun) eventDir() string {
	name := filepath.Base(r.Dir)
	if r.o.Legacy || r.o.Name != "" { // the reference's folders of events have the layer
		name += fmt.Sprintf("_layer%d", r.o.Layer)
	}
	return filepath.Join(r.o.TBPath, name)
}

func (r *ProbeRun) finish() error {
	err := r.metrics.Close()
	if r.tb != nil {
		err = errors.Join(err, r.tb.Close())
	}
	return err
}

// resultFile is what a finished probe leaves for reports.
const resultFile = "result.json"

// probeRecord is the content of result.json.
type probeRecord struct {
	ProbeResult
	ClassNames []string `json:"class_names"`
	Confusion  counts   `json:"confusion"` // of the last validation
}

func (r *ProbeRun) writeResult(res *ProbeResult) error {
	return writeJSON(filepath.Join(r.Dir, resultFile), probeRecord{*res, r.halves[0].data.Classes(), r.counts})
}

// WriteManifest writes run.json.
func (r *ProbeRun) WriteManifest(command []string, settings map[string]Setting) error {
	return writeJSON(filepath.Join(r.Dir, "run.json"), Manifest{Version: Version(), Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(),
		Method: "probe", Device: r.encoder.net.device.Name(), Decoder: r.encoder.decoder.Name(), Images: r.halves[0].data.Len(),
		Classes: r.head.Classes, Command: command, Start: r.sampler[0].Start, Settings: settings})
}

// writeJSON writes a file whole or not at all.
func writeJSON(path string, v any) error {
	return ReplaceFile(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	})
}

// isRunFolder says whether a folder holds checkpoints of a run.
func isRunFolder(path string) bool {
	_, err := checkpoint.Latest(checkpoint.Disk{}, path)
	return err == nil
}

// line appends values that belong to an epoch, whose last step is given.
func (m *Metrics) line(step, epoch int, values []stages.Value) {
	b := fmt.Appendf(nil, `{"step":%d,"epoch":%d`, step, epoch)
	for _, v := range values {
		b = fmt.Appendf(b, `,%q:%s`, v.Name, number(v.V))
	}
	m.append(append(b, "}\n"...))
}
