package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/synth"
	"github.com/contraflow/contraflow/ops/pixel"
)

func newData() *cobra.Command {
	return group("data", "Make, check and convert data sets", newDataSynth(), newDataFetch(), newDataPack(), newDataVerify(), newDataStats())
}

func newDataSynth() *cobra.Command {
	var out string
	o := synth.Options{}
	c := &cobra.Command{
		Use:   "synth --out DIR",
		Short: "Draw a data set of procedural scenes as an ImageFolder tree of JPEG files",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usagef("--out is missing: give the folder to write")
			}
			if err := o.Check(); err != nil {
				return usageError{err}
			}
			ctx, stop, done := stopper(cmd.Context())
			defer done()
			ctx, cancel := flows.Until(ctx, stop)
			defer cancel()
			if err := synth.Write(ctx, out, o); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d classes, %d training and %d validation images of %d×%d\n",
				out, o.Classes, o.Classes*o.PerClass, o.Classes*o.ValPerClass, o.Size, o.Size)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&out, "out", "", "folder to write; must be new or empty")
	f.IntVar(&o.Classes, "classes", 10, "classes, each with its own silhouette and habits")
	f.IntVar(&o.PerClass, "per_class", 200, "training images a class")
	f.IntVar(&o.ValPerClass, "val_per_class", 40, "validation images a class")
	f.IntVar(&o.Size, "size", 96, "side of an image in pixels")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of every draw")
	f.StringSliceVar(&o.Extra, "extra_views", nil, "further views of every scene as PNG files for --view_dirs: depth (16 bits), normals")
	f.IntVar(&o.Quality, "quality", 92, "quality of the JPEG files, 1–100")
	atLeast(1, f, "quality")
	return c
}

func newDataStats() *cobra.Command {
	var folder, view, decoder string
	var limit int
	var asJSON bool
	c := &cobra.Command{
		Use:   "stats --data_folder DIR --view SPACE",
		Short: "Measure means and deviations of a colour space over the training images",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needsFolder(folder); err != nil {
				return err
			}
			if _, err := pixel.LookupSpace(view); err != nil {
				return usagef("--view: %w", err)
			}
			ctx, stop, done := stopper(cmd.Context())
			defer done()
			ctx, cancel := flows.Until(ctx, stop)
			defer cancel()
			s, err := flows.DataStats(ctx, folder, view, decoder, limit)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(s)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s over %d images, %d pixels (%d unreadable):\n--view_mean %.6g,%.6g,%.6g --view_std %.6g,%.6g,%.6g\n", s.View, s.Images, s.Pixels, s.Bad,
				s.Mean[0], s.Mean[1], s.Mean[2], s.Std[0], s.Std[1], s.Std[2])
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&folder, "data_folder", "", "images, as train takes them")
	f.StringVar(&view, "view", "Lab", "colour space: "+strings.Join(pixel.SpaceNames(), ", "))
	f.StringVar(&decoder, "decoder", "auto", "JPEG decoder: auto, turbo, go")
	f.IntVar(&limit, "max_images", 0, "images measured, evenly spread; 0 is all")
	oneOf(f, "decoder", decoders...)
	atLeast(0, f, "max_images")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}
