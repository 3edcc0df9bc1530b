package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flows"
)

func newStudy() *cobra.Command {
	c := group("study", "Test the claims: train and judge the variants of a question, over several seeds")
	for _, s := range flows.Studies {
		c.AddCommand(newStudyOf(s.Name, s.About))
	}
	return c
}

func newStudyOf(name, about string) *cobra.Command {
	var o flows.StudyOptions
	var asJSON bool
	c := &cobra.Command{
		Use:   name + " [flags]",
		Short: about,
		Long: "study trains every variant with several seeds, probes the frozen encoders, and prints a table and what became of\n" +
			"each claim. A second call trains only what is missing. See docs/studies.md.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Epochs < 0 || o.Layer < 1 {
				return usagef("--epochs %d, --layer %d: epochs must be 0 or more, layer at least 1", o.Epochs, o.Layer)
			}
			if err := o.Check(name); err != nil {
				return usageError{err}
			}
			if err := flows.CheckCount("threads", o.Threads, "one a core"); err != nil {
				return usageError{err}
			}
			ctx, stop, done := stopper(cmd.Context())
			defer done()
			o.Stop = stop
			w := cmd.ErrOrStderr()
			o.Say = func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
			res, err := flows.RunStudy(ctx, name, o)
			if errors.Is(err, flows.ErrStopped) {
				o.Say("stopped; the same command goes on")
			}
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(res)
			}
			fmt.Fprint(cmd.OutOrStdout(), res.Markdown())
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.Out, "out", "study", "folder of data, runs and results; runs in it are not trained again")
	f.StringVar(&o.Data, "data_folder", "", "images, as train takes them, of train and val; empty draws scenes with depth and normals")
	o.Seeds = []int{1, 2, 3}
	f.Var(flows.ListFlag(&o.Seeds), "seeds", "seeds of training; the data stay the same")
	f.IntVar(&o.Epochs, "epochs", 0, "passes over the data; 0 is the preset's")
	f.IntVar(&o.ImageSize, "image_size", 0, "side of the crops; 0 is the preset's")
	f.StringVar(&o.Model, "model", "", "network with a tower a view; empty is the preset's")
	f.StringVar(&o.View, "view", "", "colour space; empty is Lab")
	f.StringVar(&o.Views, "views", "", "views of the colour space, such as L|ab or Y|Cb|Cr")
	f.StringVar(&o.ViewDirs, "view_dirs", "", "further views in files, as for train cmc; of the drawn scenes depth,normals, which study views takes")
	f.IntVar(&o.Layer, "layer", 6, "layer that is probed")
	f.IntVar(&o.Threads, "threads", 0, "compute threads; 0 is one a core")
	f.BoolVar(&asJSON, "json", false, "print one JSON object on standard output, everything else on standard error")
	return c
}
