package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/flows"
)

// methods are the training commands.
var methods = []struct{ name, short string }{
	{"cmc", "Contrastive multiview coding over colour views"},
	{"moco", "Momentum contrast: two crops, a momentum encoder, a queue"},
	{"insdis", "Instance discrimination: every image a class, kept in a memory"},
	{"predict", "Predictive baseline: the other views from the first, by L1 or L2"},
	{"supervised", "Supervised baseline: the same encoders, cross entropy on the labels"},
}

func newTrain() *cobra.Command {
	c := group("train", "Train encoders by contrast, and the baselines")
	for _, m := range methods {
		c.AddCommand(newTrainMethod(m.name, m.short))
	}
	return c
}

func newTrainMethod(method, short string) *cobra.Command {
	var trace string
	c := newFlow(method, short, func(cmd *cobra.Command, o flows.Options, fromPreset []string) error {
		if err := writable(trace); err != nil {
			return fmt.Errorf("--trace: %w", err)
		}
		ctx, stop, done := stopper(cmd.Context())
		defer done()
		stop, unread := orUnread(stop)
		defer unread()
		settings := flows.Settings(cmd.Flags(), method, o.Run.Preset, fromPreset)
		return train(ctx, o, settings, trace, stop, os.Stdout, logger(cmd.ErrOrStderr(), o.Run.Quiet)) // a status line is no result that could fail to be printed
	})
	c.Flags().StringVar(&trace, "trace", "", traceUsage)
	c.Flags().Lookup("trace").Annotations = map[string][]string{"group": {"Run"}}
	return c
}

// newFlow is a command that takes the flags of a training method, checks them and goes on with what they say.
func newFlow(method, short string, run func(cmd *cobra.Command, o flows.Options, fromPreset []string) error) *cobra.Command {
	o := flows.Options{Method: method}
	c := &cobra.Command{
		Use:   method + " --data_folder DIR [flags]",
		Short: short,
		Args:  noArgs,
	}
	flows.Bind(c.Flags(), &o)
	c.Flags().SortFlags = false
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var fromPreset []string
		if o.Run.Preset != "" {
			p, err := flows.LoadPreset(o.Run.Preset)
			if err == nil {
				fromPreset, err = p.Apply(cmd.Flags(), method)
			}
			if err != nil {
				return usageError{err}
			}
		}
		log := logger(cmd.ErrOrStderr(), o.Run.Quiet)
		for _, w := range flows.Warnings(cmd.Flags(), &o) {
			log.Warn().Msg(w)
		}
		if o.Data.Folder == "" {
			return usagef("--data_folder is missing: give the folder that holds train/<class>/<images>")
		}
		if err := flows.Validate(o); err != nil {
			return usageError{err}
		}
		return run(cmd, o, fromPreset)
	}
	c.SetUsageFunc(func(cmd *cobra.Command) error { return groupedUsage(cmd) })
	return c
}

// train runs one method with a status line a second, and writes a trace of it unless that is "".
func train(ctx context.Context, o flows.Options, settings map[string]flows.Setting, trace string, stop <-chan struct{}, out *os.File, log zerolog.Logger) error {
	live, err := flows.NewLive(o)
	if err != nil {
		return err
	}
	defer live.Close()
	r, err := flows.Prepare(o)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, w := range r.Warnings {
		log.Warn().Msg(w)
	}
	r.Stop = stop
	r.OnBad(func(name, by string, err error) {
		log.Warn().Str("image", name).Str("instead", by).Msg("could not be read: " + err.Error())
	})
	if r.Done() {
		return makeUp(ctx, r, o, stop, log)
	}
	if trace != "" {
		r.Trace = contraflow.NewTrace(traceSpans)
	}
	if classes := r.Classes(); len(classes) == 1 {
		log.Warn().Msgf("the data has one class, %q: training needs none, but kNN and probes will have nothing to tell apart", classes[0])
	}
	r.OnSkip = func(_ int, why string) { log.Warn().Msg(why) }
	if err := r.WriteManifest(os.Args, settings); err != nil {
		return err
	}
	m, err := flows.NewMetrics(r.Dir, r.Start())
	if err != nil {
		return err
	}
	scalars, err := flows.NewScalars(o)
	if err != nil {
		return errors.Join(fmt.Errorf("--tb_path: %w", err), m.Close())
	}
	if r.Moved != "" {
		log.Warn().Msgf("%s held an earlier run: it is now %s; --resume auto would have gone on with it", r.Dir, r.Moved)
	}
	r.Stuck = func(s contraflow.Stuck) {
		log.Warn().Str("stage", s.Stage).Int("worker", s.Worker).Int64("batch", s.Item).Msg(stuckLine(s))
	}
	r.Tuned = func(stage string, workers int) {
		log.Info().Str("stage", stage).Int("workers", workers).Msg("autotune")
	}
	log.Info().Str("run", r.Dir).Msg(r.Describe())
	judge, err := flows.NewJudge(ctx, r, func(format string, args ...any) { log.Info().Msgf(format, args...) })
	if err != nil {
		return errors.Join(err, m.Close(), scalars.Close())
	}
	p := newProgress(out, r, o.Run.Quiet)
	p.every = o.Run.PrintFreq
	r.EndOfEpoch, r.BeforeSave = scalars.Epoch, m.Sync
	r.Observe = func(rep *flows.StepReport) {
		m.Write(rep)
		p.step(rep)
		live.Step(rep)
	}
	if live != nil {
		live.Watch(r)
		log.Info().Str("address", "http://"+live.Addr()+"/metrics").Msg("metrics")
	}
	err = r.Train(ctx)
	p.end()
	if trace != "" {
		if traceErr := writeFile("trace", trace, r.Trace.WriteJSON); err == nil {
			err = traceErr
		}
	}
	for _, closeErr := range []error{m.Close(), scalars.Close(), judge.Finish(ctx, err)} {
		if err == nil {
			err = closeErr
		}
	}
	if err == nil && !o.Run.Quiet {
		log.Info().Str("run", r.Dir).Msg("done: " + r.Stats().Verdict())
	}
	if err == nil && o.Run.Report {
		err = report(ctx, r.Dir, o, stop, log)
	}
	if errors.Is(err, flows.ErrStopped) {
		tellStopped()
	}
	return err
}

// makeUp does for a run at its end what a signal cut off.
func makeUp(ctx context.Context, r *flows.Run, o flows.Options, stop <-chan struct{}, log zerolog.Logger) error {
	score, page, err := r.Owes()
	if err == nil && !score && !page {
		log.Info().Str("run", r.Dir).Msgf("nothing left to do: the run ended at step %d", r.Start())
	}
	if err == nil && score {
		var judge *flows.Judge
		if judge, err = flows.NewJudge(ctx, r, func(format string, args ...any) { log.Info().Msgf(format, args...) }); err == nil {
			err = judge.Finish(ctx, nil)
		}
	}
	if err == nil && page {
		err = report(ctx, r.Dir, o, stop, log)
	}
	if errors.Is(err, flows.ErrStopped) {
		tellStopped()
	}
	return err
}

// report writes the report of a run that is saved. Told to stop it is left out, for the run to make up for.
func report(ctx context.Context, dir string, o flows.Options, stop <-chan struct{}, log zerolog.Logger) error {
	until, cancel := flows.Until(ctx, stop)
	defer cancel()
	path, err := flows.WriteReport(until, dir, flows.ReportOptions{Images: flows.DefaultReport.Images, Threads: o.Net.Threads, OnBad: leftOut(log)})
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		return flows.ErrStopped
	}
	if err == nil {
		log.Info().Msg("report: " + path)
	}
	return err
}

// stuckLine says that a call of a stage does not end.
func stuckLine(s contraflow.Stuck) string {
	usual := "none has ended yet"
	if s.Usual > 0 {
		usual = fmt.Sprintf("half of them take at most %v", s.Usual.Round(time.Millisecond))
	}
	return fmt.Sprintf("%s has been busy with one batch for %v (%s): a slow disk or network, or stuck; see --watchdog", s.Stage, s.For.Round(time.Second), usual)
}

// logger prints plain lines; zerolog keeps what packages log apart from what commands print.
func logger(w io.Writer, quiet bool) zerolog.Logger {
	level := zerolog.InfoLevel
	if quiet {
		level = zerolog.ErrorLevel
	}
	return zerolog.New(zerolog.ConsoleWriter{Out: w, NoColor: true, TimeFormat: "15:04:05"}).Level(level).With().Timestamp().Logger()
}
