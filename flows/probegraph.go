package flows

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/io/tensorboard"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// The items of a probe's graph. Training batches of an epoch and then the validation batches flow through one graph, in that
// order, so that decoding runs ahead across both.
type (
	probePlan struct {
		stages.Plan
		half int // 0 train, 1 val
	}
	probeCrops struct {
		*stages.Crops
		half int
	}
	probeBatch struct {
		*stages.Batch
		half int
	}
	probeRows struct {
		stages.Plan
		half   int
		labels []int // of the images that could be read
		bad    []stages.Substitution
		x      []float32 // [B,Dim], of which the first len(labels) rows count
	}
)

// plans gives the batches from the resumed step on.
func (r *ProbeRun) plans() iter.Seq2[probePlan, error] {
	return func(yield func(probePlan, error) bool) {
		validate := func(epoch, step int) bool {
			for p, err := range r.sampler[1].Plans() {
				p.Epoch, p.Step = epoch, step
				if !yield(probePlan{p, 1}, err) || err != nil {
					return false
				}
			}
			return true
		}
		per, start, total := r.sampler[0].PerEpoch(), r.sampler[0].Start, r.sampler[0].Steps()
		if start > 0 && (start%per == 0 || start == total) && r.progress.Validated < (start+per-1)/per && !validate((start+per-1)/per, start) {
			return
		}
		for p, err := range r.sampler[0].Plans() {
			if !yield(probePlan{p, 0}, err) || err != nil {
				return
			}
			if p.Batch == p.Of-1 || p.Step == total-1 {
				if !validate(p.Epoch, p.Step+1) {
					return
				}
			}
		}
	}
}

// Graph builds the probe's graph:
//
//	sampler ─▶ decode ─▶ views ─▶ encode ─▶ classify ─▶ meter
//
// classify owns the classifier: it scores a batch, and in training steps the optimiser. With cached features a stage
// "features" takes the place of decode, views and encode.
func (r *ProbeRun) Graph() *contraflow.Graph {
	g := contraflow.New("probe")
	plans := contraflow.Source(g, "sampler", r.plans())
	var rows contraflow.Port[*probeRows]
	if r.cached[0] != nil {
		rows = contraflow.Step(plans, "features", r.gather)
	} else {
		crops := contraflow.Step(plans, "decode", r.decode, contraflow.Workers(decodeWorkers(r.o.Workers)))
		batches := contraflow.Step(crops, "views", r.render)
		rows = contraflow.Step(batches, "encode", r.encode)
	}
	steps := contraflow.Step(rows, "classify", r.classify)
	contraflow.Each(steps, "meter", r.meter)
	r.graph = g
	return g
}

func (r *ProbeRun) decode(ctx context.Context, p probePlan) (probeCrops, error) {
	c, err := r.halves[p.half].decode.Run(ctx, p.Plan)
	return probeCrops{c, p.half}, err
}

func (r *ProbeRun) render(ctx context.Context, c probeCrops) (probeBatch, error) {
	b, err := r.halves[c.half].views.Run(ctx, c.Crops)
	return probeBatch{b, c.half}, err
}

func (r *ProbeRun) encode(_ context.Context, b probeBatch) (*probeRows, error) {
	rows := r.newRows(b.Plan, b.half)
	defer b.Release()
	rows.bad = b.Bad
	bad, err := r.features(rows.x, b)
	if err != nil {
		return nil, err
	}
	for i, id := range b.Index {
		if !bad[id] {
			rows.add(rows.x[i*r.frozen.Dim:][:r.frozen.Dim], b.Labels[i])
		}
	}
	return rows, nil
}

// features writes the features of a batch to x, and returns the images that could not be read: others stand in for them.
func (r *ProbeRun) features(x []float32, b probeBatch) (bad map[int]bool, err error) {
	if err := r.frozen.Run(x, b.Batch); err != nil {
		return nil, err
	}
	bad = unread(b.Batch)
	for i, id := range b.Index {
		if first := x[i*r.frozen.Dim]; first != first && !bad[id] {
			return nil, nanFeatures(r.halves[b.half].data.Name(id))
		}
	}
	return bad, nil
}

func (r *ProbeRun) newRows(p stages.Plan, half int) *probeRows {
	rows, _ := r.rows.Get().(*probeRows)
	if rows == nil {
		rows = &probeRows{}
	}
	rows.Plan, rows.half, rows.bad, rows.labels = p, half, nil, rows.labels[:0]
	rows.x = fresh(rows.x, len(p.Index)*r.frozen.Dim)
	return rows
}

// add appends an image; its features may lie in x, at their new place or behind it.
func (p *probeRows) add(features []float32, label int) {
	copy(p.x[len(p.labels)*len(features):], features)
	p.labels = append(p.labels, label)
}

// classify scores a batch, and trains on it when it is of the training half.
func (r *ProbeRun) classify(_ context.Context, rows *probeRows) (*ProbeStep, error) {
	s := &ProbeStep{Plan: rows.Plan, Val: rows.half == 1, Samples: len(rows.labels), LR: r.o.rate(rows.Epoch), Bad: rows.bad}
	x := rows.x[:s.Samples*r.frozen.Dim]
	var logits []float32
	var err error
	switch {
	case s.Samples == 0: // no image could be read
	case s.Val:
		if r.norm != nil {
			r.norm.Eval(x, r.frozen.Dim)
		}
		if logits, err = r.head.Logits(x, s.Samples); err != nil {
			return nil, err
		}
		s.Loss = ops.SoftmaxCrossEntropy(make([]float32, len(logits)), logits, rows.labels, r.head.Classes)
		if err := diverged(s.Loss); err != nil {
			return nil, fmt.Errorf("validation after step %d: %w", rows.Step-1, err)
		}
		s.right = guesses(logits, rows.labels, r.head.Classes)
	default:
		if r.norm != nil {
			r.norm.Train(x, r.frozen.Dim)
		}
		r.head.LR = s.LR
		if s.Loss, logits, err = r.head.Step(x, rows.labels); err != nil {
			return nil, fmt.Errorf("step %d: %w", rows.Step, err)
		}
	}
	s.Top1 = Accuracy(logits, rows.labels, r.head.Classes, 1)
	s.Top5 = Accuracy(logits, rows.labels, r.head.Classes, 5)
	last := s.Val && s.Plan.Batch == s.Plan.Of-1
	if last || !s.Val && r.o.SaveSteps > 0 && (s.Plan.Step+1)%r.o.SaveSteps == 0 {
		if s.snapshot, err = r.headState(); err != nil {
			return nil, err
		}
	}
	r.rows.Put(rows)
	return s, nil
}

// meter averages, writes what is due and passes steps on.
func (r *ProbeRun) meter(_ context.Context, s *ProbeStep) error {
	p := &r.progress
	r.images += s.Samples
	if s.Val {
		if s.Plan.Batch == 0 {
			r.guesses = r.guesses[:0]
			p.Test = probeSums{}
		}
		r.guesses = append(r.guesses, s.right...)
		p.Test.add(s)
	} else {
		if s.Plan.Batch == 0 {
			p.Train = probeSums{}
		}
		p.Train.add(s)
		p.Step, p.LR = s.Plan.Step+1, s.LR
		p.Validated = min(p.Validated, s.Plan.Epoch-1) // a probe that ended within this epoch had validated it
		r.metrics.Write(s.report())
	}
	if r.Observe != nil {
		r.Observe(s)
	}
	if s.Val && s.Plan.Batch == s.Plan.Of-1 {
		return r.endOfEpoch(s)
	}
	if s.snapshot != nil {
		return r.save(s.snapshot)
	}
	return nil
}

// headState copies what classify owns.
func (r *ProbeRun) headState() (*HeadState, error) {
	s, err := r.head.State()
	if err == nil && r.norm != nil {
		s.Norm = &FeatureNorm{Mean: slices.Clone(r.norm.Mean), Var: slices.Clone(r.norm.Var)}
	}
	return s, err
}

// report is a step as metrics.jsonl has it.
func (s *ProbeStep) report() *StepReport {
	return &StepReport{Plan: s.Plan, Samples: s.Samples, Loss: s.Loss, LR: s.LR, Bad: s.Bad,
		Values: []stages.Value{{Name: "acc", V: s.Top1}, {Name: "acc5", V: s.Top5}}}
}

// endOfEpoch finishes a validation.
func (r *ProbeRun) endOfEpoch(s *ProbeStep) error {
	p := &r.progress
	p.Validated = s.Plan.Epoch
	e := ProbeEpoch{Epoch: s.Plan.Epoch, LR: p.LR, TrainLoss: p.Train.mean(p.Train.Loss), TrainTop1: p.Train.mean(p.Train.Top1), Train5: p.Train.mean(p.Train.Top5),
		TestLoss: p.Test.mean(p.Test.Loss), TestTop1: p.Test.mean(p.Test.Top1), TestTop5: p.Test.mean(p.Test.Top5)}
	e.Best = e.Epoch == 1 || e.TestTop1 > p.BestTop1 || p.BestEpoch == 0
	if e.Best {
		p.BestTop1, p.BestTop5, p.BestEpoch = e.TestTop1, &e.TestTop5, e.Epoch
	}
	e.BestTop1 = p.BestTop1
	e.Seconds, e.Passed = time.Since(r.epoch).Seconds(), r.passed()
	e.ImagesPerSec = float64(r.images) / max(e.Seconds, 1e-9)
	r.epoch, r.images = time.Now(), 0
	r.counts = confusion(r.guesses, r.head.Classes)
	r.metrics.line(s.Plan.Step-1, e.Epoch, []stages.Value{{Name: "train_acc", V: e.TrainTop1}, {Name: "train_acc5", V: e.Train5}, {Name: "train_loss", V: e.TrainLoss},
		{Name: "test_acc", V: e.TestTop1}, {Name: "test_acc5", V: e.TestTop5}, {Name: "test_loss", V: e.TestLoss}, {Name: "seconds", V: e.Passed}})
	if r.tb != nil {
		// The reference logs percent.
		scalars := []tensorboard.Scalar{{Tag: "train_acc", Value: 100 * e.TrainTop1}, {Tag: "train_acc5", Value: 100 * e.Train5}, {Tag: "train_loss", Value: e.TrainLoss},
			{Tag: "test_acc", Value: 100 * e.TestTop1}, {Tag: "test_acc5", Value: 100 * e.TestTop5}, {Tag: "test_loss", Value: e.TestLoss}}
		if !r.encoder.Model.Multi {
			scalars = append(scalars, tensorboard.Scalar{Tag: "learning_rate", Value: e.LR})
		}
		if err := r.tb.Write(e.Epoch, scalars...); err != nil {
			return fmt.Errorf("--tb_path: %w", err)
		}
	}
	if e.Best {
		if err := r.saveBest(s.snapshot); err != nil {
			return err
		}
	}
	if r.o.SaveFreq > 0 && e.Epoch%r.o.SaveFreq == 0 {
		err := r.savePth(fmt.Sprintf("ckpt_epoch_%d.pth", e.Epoch), s.snapshot)
		if err == nil && !r.Done() { // else Run does, when all is written
			err = r.save(s.snapshot)
		}
		if err != nil {
			return err
		}
	}
	if r.EndOfEpoch != nil {
		r.EndOfEpoch(e)
	}
	return nil
}

// Done says that the probe was trained and validated to its end: another checkpoint would only push an older one out.
func (r *ProbeRun) Done() bool {
	s := r.sampler[0]
	return r.progress.Step >= s.Steps() && r.progress.Validated >= (r.progress.Step+s.PerEpoch()-1)/s.PerEpoch()
}

// Run trains and validates to the end, and saves the last state. After Stop it returns ErrStopped beside the result so far. Of a
// probe that is Done it writes nothing.
func (r *ProbeRun) Run(ctx context.Context) (*ProbeResult, error) {
	r.begun = time.Now()
	if r.Done() {
		return r.result(), nil
	}
	if err := r.start(ctx); err == ErrStopped {
		return r.saveLast()
	} else if err != nil {
		return nil, err
	}
	g := r.graph
	if g == nil {
		g = r.Graph()
	}
	r.begun, r.epoch = time.Now(), time.Now()
	finished := make(chan struct{})
	if r.Stop != nil {
		go func() {
			select {
			case <-r.Stop:
				g.Stop()
			case <-finished:
			}
		}()
	}
	err := g.Run(ctx)
	close(finished)
	err = errors.Join(err, r.finish())
	if err != nil {
		return nil, err
	}
	return r.saveLast()
}

// saveLast saves the present state, and the result of a probe that is Done; of others it returns ErrStopped.
func (r *ProbeRun) saveLast() (*ProbeResult, error) {
	state, err := r.headState()
	if err != nil {
		return nil, err
	}
	res, ends := r.result(), ErrStopped
	err = r.savePth("last.pth", state)
	if err == nil && r.Done() {
		ends, err = nil, r.writeResult(res)
	}
	if err == nil { // the last of all: a probe that has this checkpoint is Done, and writes nothing more
		err = r.save(state)
	}
	return res, cmp.Or(err, ends)
}

func (r *ProbeRun) result() *ProbeResult {
	p := r.progress
	return &ProbeResult{Top1: p.BestTop1, Top5: p.BestTop5, Layer: r.o.Layer, Epochs: p.Validated, Best: p.BestEpoch, Bad: p.Test.Bad,
		LastTop1: p.Test.mean(p.Test.Top1), LastTop5: p.Test.mean(p.Test.Top5), TestLoss: p.Test.mean(p.Test.Loss), Model: r.encoder.Model.Name, Classes: r.head.Classes,
		Features: r.frozen.Dim, Seconds: r.passed(), Dir: r.Dir}
}

// passed is how many seconds the probe has taken, its earlier parts included.
func (r *ProbeRun) passed() float64 { return r.before + time.Since(r.begun).Seconds() }

// guesses are the classes found: the largest logit, the lower class of equal ones.
func guesses(logits []float32, labels []int, k int) []probeGuess {
	out := make([]probeGuess, len(labels))
	for i, l := range labels {
		out[i] = probeGuess{label: l}
		row := logits[i*k:][:k]
		for c, v := range row {
			if v > row[out[i].found] {
				out[i].found = c
			}
		}
	}
	return out
}
