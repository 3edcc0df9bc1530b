package flows

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/io/tensorboard"
	"github.com/contraflow/contraflow/stages"
)

// The files that a judged run leaves beside metrics.jsonl.
const (
	knnFile          = "knn.jsonl"
	similaritiesFile = "similarities.jsonl"
	stagesFile       = "stages.json"
)

// Judge watches a training run and leaves in its folder what a report shows: the kNN accuracy of the encoder as it learns,
// histograms of similarities once an epoch, and the stage table.
type Judge struct {
	// Say, if set, is told every score in a line.
	Say func(format string, args ...any)

	run     *Run
	monitor *Monitor // nil without --knn_every
	scores  *Metrics
	watch   *Metrics
	tb      *tensorboard.Writer
	begun   time.Time
	before  float64 // seconds of earlier parts of the run
	window  func() contraflow.Stats
	first   KNNScore
	last    KNNScore
	judging context.Context // ends when the run is told to stop
	cancel  context.CancelFunc
}

// KNNScore is one line of knn.jsonl.
type KNNScore struct {
	Step    int     `json:"step"`  // last one done; -1 before training
	Epoch   int     `json:"epoch"` // epochs done
	KNN     float64 `json:"knn"`   // top-1 share of the validation images
	Seconds float64 `json:"seconds"`
	K       int     `json:"k"`
}

// NewJudge prepares a run for being watched: call it between Prepare and Train. kNN needs val images; the untrained encoder is
// scored at once, unless the run is told to stop meanwhile: Train then saves a checkpoint and returns ErrStopped.
func NewJudge(ctx context.Context, r *Run, say func(format string, args ...any)) (*Judge, error) {
	j := &Judge{run: r, Say: say, last: KNNScore{Step: -1}}
	j.judging, j.cancel = Until(ctx, r.Stop)
	var err error
	if j.watch, err = openLines(filepath.Join(r.Dir, similaritiesFile), r.Start()); err != nil {
		j.cancel()
		return nil, err
	}
	r.objective = &watchedObjective{r.objective, j.watch}
	if r.o.Run.KNNEvery > 0 {
		if err := j.monitorKNN(); err != nil && !j.stopped(ctx) {
			return nil, errors.Join(err, j.close())
		}
	} else if err := forget(filepath.Join(r.Dir, knnFile), r.Start()); err != nil {
		return nil, errors.Join(err, j.close())
	}
	j.begun = time.Now()
	r.Graph()
	j.window = r.Window(time.Second)
	return j, nil
}

func (j *Judge) monitorKNN() (err error) {
	r := j.run
	if j.monitor, err = NewMonitor(r, r.o.Run.KNNImages, j.judging); err != nil {
		return fmt.Errorf("--knn_every: %w", err)
	}
	path := filepath.Join(r.Dir, knnFile)
	if r.Start() > 0 {
		var old []KNNScore
		if err := readLines(path, &old); err != nil {
			return err
		}
		for _, s := range old {
			if s.Step < r.Start() {
				j.before, j.last = s.Seconds, s
			}
			if s.Epoch == 0 {
				j.first = s
			}
		}
	}
	if j.scores, err = openLines(path, r.Start()); err != nil {
		return err
	}
	if r.o.Run.TBPath != "" {
		if j.tb, err = tensorboard.Create(filepath.Join(r.o.Run.TBPath, RunName(r.o))); err != nil {
			return fmt.Errorf("--tb_path: %w", err)
		}
	}
	switch start, per := r.Start(), r.sampler.PerEpoch(); {
	case start == 0:
		if err := j.score(j.judging, -1, 0); err != nil {
			return err
		}
		j.first = j.last
	case start%(per*r.o.Run.KNNEvery) == 0 && j.last.Step != start-1: // it was stopped before this score
		if err := j.score(j.judging, start-1, start/per); err != nil {
			return err
		}
	}
	r.Between = func(ctx context.Context, epoch int) error {
		if epoch%r.o.Run.KNNEvery != 0 {
			return nil
		}
		err := j.score(j.judging, epoch*r.sampler.PerEpoch()-1, epoch)
		if j.stopped(ctx) {
			return nil // the run does so next
		}
		return err
	}
	return nil
}

// score judges the present weights. It needs the device for itself.
func (j *Judge) score(ctx context.Context, step, epoch int) error {
	v, err := j.monitor.KNN(ctx)
	if err != nil {
		return err
	}
	j.last = KNNScore{Step: step, Epoch: epoch, KNN: v, Seconds: j.before, K: min(DefaultKNN.K, j.monitor.Train.Len())}
	if !j.begun.IsZero() {
		j.last.Seconds += time.Since(j.begun).Seconds()
	}
	text, err := json.Marshal(j.last)
	if err != nil {
		return err
	}
	j.scores.append(append(text, '\n'))
	if j.tb != nil {
		if err := j.tb.Write(epoch, tensorboard.Scalar{Tag: "knn", Value: v}); err != nil {
			return fmt.Errorf("--tb_path: %w", err)
		}
	}
	if j.Say != nil {
		j.Say("epoch %d: kNN top-1 %.4f of %d validation images", epoch, v, j.monitor.Val.Len())
	}
	return nil
}

// stopped says that the run, whose context is ctx, was told to stop, which ends what judges it.
func (j *Judge) stopped(ctx context.Context) bool { return j.judging.Err() != nil && ctx.Err() == nil }

// Finish judges the last weights of a run that came to its end, and writes the stage table. trainErr is what Train returned. Told to
// stop meanwhile it returns ErrStopped: the checkpoint is there, and a run that goes on from it makes up for the score.
func (j *Judge) Finish(ctx context.Context, trainErr error) error {
	var errs []error
	if !j.run.Done() && (trainErr == nil || errors.Is(trainErr, ErrStopped)) {
		errs = append(errs, writeStages(filepath.Join(j.run.Dir, stagesFile), j.window()))
	}
	total, done := j.run.Steps()
	end := max(total, done) // a run at its end may have gone further than it is told now
	if trainErr == nil && j.run.o.Run.KNNEvery > 0 && j.last.Step != end-1 {
		errs = append(errs, j.finalScore(ctx, end))
	}
	return errors.Join(append(errs, j.close())...)
}

func (j *Judge) finalScore(ctx context.Context, end int) error {
	judging, cancel := Until(ctx, j.run.Stop)
	defer cancel()
	err := judging.Err() // then there may be no monitor
	if err == nil {
		err = j.score(judging, end-1, (end+j.run.sampler.PerEpoch()-1)/j.run.sampler.PerEpoch())
	}
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		return ErrStopped
	}
	return err
}

// Owes says what a run that is at its end still lacks, because a signal cut it off: its last kNN score, and its report.
func (r *Run) Owes() (score, page bool, err error) {
	if !r.Done() || r.lock == nil { // it is not this run's folder
		return false, false, nil
	}
	if r.o.Run.KNNEvery > 0 {
		var scores []KNNScore
		if err := readLines(filepath.Join(r.Dir, knnFile), &scores); err != nil {
			return false, false, err
		}
		score = !slices.ContainsFunc(scores, func(s KNNScore) bool { return s.Step == r.Start()-1 })
	}
	if r.o.Run.Report {
		page = score || older(filepath.Join(r.Dir, "report.html"), filepath.Join(r.Dir, "metrics.jsonl"))
	}
	return score, page, nil
}

// older says whether a file is missing, or was written before another.
func older(path, than string) bool {
	file, err := os.Stat(path)
	if err != nil {
		return true
	}
	other, err := os.Stat(than)
	return err == nil && file.ModTime().Before(other.ModTime())
}

// Untrained is the score of the encoder before training.
func (j *Judge) Untrained() float64 { return j.first.KNN }

// Last is the newest score.
func (j *Judge) Last() KNNScore { return j.last }

func (j *Judge) close() error {
	j.cancel()
	var errs []error
	for _, m := range []*Metrics{j.scores, j.watch} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	if j.tb != nil {
		errs = append(errs, j.tb.Close())
	}
	return errors.Join(errs...)
}

// stageTable is stages.json.
type stageTable struct {
	Verdict string     `json:"verdict"`
	Seconds float64    `json:"seconds"`
	Rows    [][]string `json:"rows"`    // the first is the header
	Drawing string     `json:"drawing"` // SVG
}

func writeStages(path string, s contraflow.Stats) error {
	var drawing bytes.Buffer
	if err := s.WriteSVG(&drawing, "batches"); err != nil {
		return err
	}
	return writeJSON(path, stageTable{Verdict: s.Verdict(), Seconds: s.Elapsed.Seconds(), Rows: s.StageRows(), Drawing: drawing.String()})
}

// readLines reads a file of JSON lines; a file that is not there has none.
func readLines[T any](path string, out *[]T) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(raw, []byte("\n"))
		if !whole { // nothing is left, or a line that a killed run did not finish
			return nil
		}
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			return fmt.Errorf("%s: line %d: %w", path, n, err)
		}
		*out, raw = append(*out, v), rest
	}
}

var _ stages.Objective = (*watchedObjective)(nil)
