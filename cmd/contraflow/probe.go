package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flows"
)

func newProbe() *cobra.Command {
	var o flows.ProbeOptions
	var asJSON bool
	c := &cobra.Command{
		Use:   "probe --model_path FILE|RUN --data_folder DIR [flags]",
		Short: "Judge an encoder by a linear classifier on one of its layers",
		Long: "probe freezes an encoder and trains a linear classifier on the features of one layer, as the original's LinearProbing\n" +
			"and eval_moco_ins do. The kind of encoder is found in its file. See docs/judging.md.",
		Args: noArgs,
	}
	flows.BindProbe(c.Flags(), &o)
	f := c.Flags()
	f.BoolVar(&asJSON, "json", false, `end with one JSON object on standard output: {"top1","top5","layer","epochs",…}`)
	f.Lookup("json").Annotations = map[string][]string{"group": {"Run"}}
	f.SortFlags = false
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		o.DecayGiven = cmd.Flags().Changed("weight_decay")
		log := logger(cmd.ErrOrStderr(), o.Quiet)
		for _, w := range flows.ProbeWarnings(cmd.Flags()) {
			log.Warn().Msg(w)
		}
		if err := flows.ValidateProbe(o); err != nil {
			return usageError{err}
		}
		ctx, stop, done := stopper(cmd.Context())
		defer done()
		stop, unread := orUnread(stop)
		defer unread()
		r, err := flows.PrepareProbe(ctx, o)
		if err != nil {
			return err
		}
		defer r.Close()
		for _, w := range r.Warnings {
			log.Warn().Msg(w)
		}
		out := cmd.OutOrStdout()
		if asJSON {
			out = cmd.ErrOrStderr()
		}
		tell := func(res *flows.ProbeResult) error {
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(res)
			}
			top5 := ""
			if res.Top5 != nil {
				top5 = fmt.Sprintf(", top-5 %.4f", *res.Top5)
			}
			fmt.Fprintf(out, "probe of %s layer %d: top-1 %.4f%s in epoch %d of %d%s\n", res.Model, res.Layer, res.Top1, top5, res.Best, res.Epochs, unreadable(res.Bad))
			return nil
		}
		if r.Done() {
			res, err := r.Run(ctx)
			if err != nil {
				return err
			}
			_, step := r.Steps()
			log.Info().Str("folder", r.Dir).Msgf("nothing left to do: the probe ended at step %d", step)
			return tell(res)
		}
		r.Stop = stop
		r.OnBad = func(name string, err error) {
			log.Warn().Str("image", name).Msg("left out, since it could not be read: " + err.Error())
		}
		if err := r.WriteManifest(os.Args, flows.ProbeSettings(cmd.Flags(), r.Options())); err != nil {
			return err
		}
		if r.Moved != "" {
			log.Warn().Msgf("%s held an earlier probe: it is now %s; --resume auto would have gone on with it", r.Dir, r.Moved)
		}
		log.Info().Str("folder", r.Dir).Msg(r.Describe())
		if !o.Quiet {
			began := time.Now()
			r.Observe = func(s *flows.ProbeStep) {
				if s.Val || o.PrintFreq == 0 || s.Plan.Batch%o.PrintFreq != 0 {
					return
				}
				loss, top1, top5 := r.Averages()
				fmt.Fprintf(out, "Epoch: [%d][%d/%d]\tTime %.1f s\tLoss %.4f (%.4f)\tAcc@1 %.3f (%.3f)\tAcc@5 %.3f (%.3f)\n", s.Plan.Epoch, s.Plan.Batch, s.Plan.Of,
					time.Since(began).Seconds(), s.Loss, loss, 100*s.Top1, 100*top1, 100*s.Top5, 100*top5)
			}
			r.EndOfEpoch = func(e flows.ProbeEpoch) {
				mark := ""
				if e.Best {
					mark = "  best so far"
				}
				fmt.Fprintf(out, " * Acc@1 %.3f Acc@5 %.3f\tepoch %d, train Acc@1 %.3f, %.0f images/s%s\n", 100*e.TestTop1, 100*e.TestTop5, e.Epoch, 100*e.TrainTop1, e.ImagesPerSec, mark)
			}
		}
		res, err := r.Run(ctx)
		if errors.Is(err, flows.ErrStopped) {
			tellStopped()
			return err
		}
		if err != nil {
			return err
		}
		log.Info().Str("folder", r.Dir).Msg("done: " + r.Stats().Verdict())
		return tell(res)
	}
	c.SetUsageFunc(func(cmd *cobra.Command) error { return groupedUsage(cmd) })
	return c
}
