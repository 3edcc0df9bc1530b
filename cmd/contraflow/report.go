package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flows"
)

func newReport() *cobra.Command {
	o := flows.DefaultReport
	c := &cobra.Command{
		Use:   "report RUN",
		Short: "Write a run's report.html: curves, neighbours, maps, filters, similarities, stages, options",
		Long:  "report reads the folder of a training run or of a probe and writes one HTML file that needs nothing else. Pictures of the\nencoder need the images: those the run trained on, or --data_folder.",
		Args:  folders("report", 1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Images < 0 {
				return usagef("--images %d: must be 0 (no pictures) or more", o.Images)
			}
			ctx, stop, done := stopper(cmd.Context())
			defer done()
			ctx, cancel := flows.Until(ctx, stop)
			defer cancel()
			o.OnBad = leftOut(logger(cmd.ErrOrStderr(), false))
			path, err := flows.WriteReport(ctx, args[0], o)
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), path)
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&o.DataFolder, "data_folder", "", "images, as train takes them, of train and val; empty is that of the run")
	f.StringVar(&o.Out, "out", "", "file to write; empty is report.html in the run folder")
	f.IntVar(&o.Images, "images", o.Images, "largest number of images of train and of val to embed; 0 shows none")
	f.IntVar(&o.Threads, "threads", 0, "compute threads; 0 is one a core")
	limitWorkers(f, "threads")
	badSamples(f, &o.BadSamples)
	return c
}

// folders wants between least and most arguments that are run folders.
func folders(name string, least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			want := "one run folder"
			if most > 1 {
				want = fmt.Sprintf("%d run folders or more", least)
			}
			return usagef("contraflow %s wants %s, found %s: see %s --help", name, want, counted(len(args), "argument"), cmd.CommandPath())
		}
		return nil
	}
}
