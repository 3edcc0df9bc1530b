package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/io/synth"
)

func newData() *cobra.Command {
	return group("data", "Make, check and convert data sets", newDataSynth())
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
			if err := synth.Write(cmd.Context(), out, o); err != nil {
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
	f.IntVar(&o.Quality, "quality", 92, "quality of the JPEG files, 1–100")
	return c
}
