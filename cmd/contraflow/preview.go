package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flows"
)

func newPreview() *cobra.Command {
	c := group("preview", "Draw what a network will see: crops, views, and mixtures with what was drawn")
	for _, m := range methods {
		c.AddCommand(newPreviewMethod(m.name))
	}
	return c
}

func newPreviewMethod(method string) *cobra.Command {
	var out string
	var step, samples, rank, ranks int
	c := newFlow(method, "Draw what train "+method+" would see with the same flags", func(cmd *cobra.Command, o flows.Options, _ []string) error {
		if out == "" {
			return usagef("--out is missing: give the .png to write")
		}
		if err := flows.CheckPNG(out); err != nil {
			return usageError{err}
		}
		if samples < 1 || samples > 64 {
			return usagef("--samples %d: must be in [1,64]", samples)
		}
		if step < 0 || rank < 0 || rank >= ranks {
			return usagef("--step %d, --rank %d, --ranks %d: steps and ranks count from 0", step, rank, ranks)
		}
		o.Data.Rank, o.Data.Ranks = rank, ranks
		ctx, stop, done := stopper(cmd.Context())
		defer done()
		ctx, cancel := flows.Until(ctx, stop)
		defer cancel()
		img, err := flows.Preview(ctx, o, step, samples)
		if err != nil {
			return err
		}
		if err := flows.WritePNG(out, img); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %d x %d\n", out, img.Bounds().Dx(), img.Bounds().Dy())
		return nil
	})
	f := c.Flags()
	f.StringVar(&out, "out", "", "picture to write, .png")
	f.IntVar(&step, "step", 0, "step whose batch is shown")
	f.IntVar(&samples, "samples", 6, "samples shown, the first of the batch")
	f.IntVar(&rank, "rank", 0, "rank whose part of the batch is shown")
	f.IntVar(&ranks, "ranks", 1, "ranks that share a batch")
	return c
}
