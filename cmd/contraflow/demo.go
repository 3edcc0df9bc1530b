package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flows"
)

func newDemo() *cobra.Command {
	var out, resume string
	var seed, threads, workers int
	var asJSON bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Draw a data set, train on it, judge the encoder, write a report",
		Long:  "demo draws a data set of procedural scenes, trains two towers by contrastive multiview coding on the processor,\nscores them by kNN as they learn, and writes report.html. It takes a few minutes on two cores.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop, done := stopper(cmd.Context())
			defer done()
			stop, unread := orUnread(stop)
			defer unread()
			w, status := cmd.OutOrStdout(), os.Stdout
			if asJSON {
				w, status = cmd.ErrOrStderr(), os.Stderr
			}
			say := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
			o := flows.DemoOptions(seed)
			o.Net.Threads, o.Data.Workers, o.Run.Resume = threads, workers, resume
			if resume != "" && resume != "auto" {
				return usagef("--resume %q: a demonstration goes on with --resume auto", resume)
			}
			if err := flows.Validate(o); err != nil {
				return usageError{err}
			}
			var p *progress
			res, err := flows.Demo(ctx, out, o, stop, say, func(r *flows.Run, rep *flows.StepReport) {
				if p == nil {
					p = newProgress(status, r, false)
				}
				p.step(rep)
			})
			if p != nil {
				p.end()
			}
			if errors.Is(err, flows.ErrStopped) {
				tellStopped()
			}
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(res)
			}
			say("kNN top-1 %.3f; untrained encoder %.3f; colour histogram %.3f", res.KNN, res.Untrained, res.Histogram)
			if res.Seconds > 0 { // else the run was at its end
				say("%.0f images/s over %.0f s; encode busy %.0f %%", res.ImagesPerSec, res.Seconds, 100*res.EncodeBusy)
			}
			say("report: %s", res.Report)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&out, "out", "demo", "folder for data, run and report")
	f.IntVar(&seed, "seed", 1, "of the data and of training")
	f.StringVar(&resume, "resume", "", `"auto" goes on with the newest demonstration of the seed, if one was interrupted`)
	f.IntVar(&threads, "threads", 0, "compute threads; 0 is one a core")
	f.IntVar(&workers, "workers", 0, "decode workers; 0 takes half the cores")
	limitWorkers(f, "threads", "workers")
	f.BoolVar(&asJSON, "json", false, "print one JSON object on standard output, everything else on standard error")
	return c
}
