package main

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flows"
)

func newRetrieve() *cobra.Command {
	o := flows.RetrieveOptions{K: 8, Out: "retrieve.png"}
	var asJSON bool
	c := &cobra.Command{
		Use:   "retrieve --model_path FILE|RUN --data_folder DIR (--image FILE | --index N)…",
		Short: "Find the training images nearest to an image, as a picture",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.ModelPath == "" || o.DataFolder == "" || len(o.Images)+len(o.Index) == 0 {
				return usagef("--model_path, --data_folder and --image or --index are needed: an encoder, images to search, and what to look for")
			}
			if o.K < 1 || o.K > 50 || o.Limit < 0 {
				return usagef("--k %d, --limit %d: want 1 to 50 neighbours, and a limit of 0 (all images) or more", o.K, o.Limit)
			}
			if err := cmp.Or(flows.CheckPNG(o.Out), o.Open.Check()); err != nil {
				return usageError{err}
			}
			o.OnBad = leftOut(logger(cmd.ErrOrStderr(), false))
			ctx, stop, done := stopper(cmd.Context())
			defer done()
			ctx, cancel := flows.Until(ctx, stop)
			defer cancel()
			found, err := flows.Retrieve(ctx, o)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON {
				return json.NewEncoder(w).Encode(found)
			}
			for _, q := range found {
				fmt.Fprintf(w, "%s %s\n", q.Query, q.Class)
				for _, n := range q.Neighbours {
					fmt.Fprintf(w, "  %.4f  %s  %s\n", n.Similarity, n.Class, n.Image)
				}
			}
			fmt.Fprintln(w, o.Out)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.ModelPath, "model_path", "", "run folder, checkpoint, .pth, .safetensors or .npz")
	f.StringVar(&o.DataFolder, "data_folder", "", "images, as train takes them, of train and, for --index, val")
	f.StringArrayVar(&o.Images, "image", nil, "image file to look for; may be given again")
	f.IntSliceVar(&o.Index, "index", nil, "validation image to look for, counted from 0; a list or given again")
	f.IntVar(&o.K, "k", o.K, "neighbours")
	f.IntVar(&o.Limit, "limit", 0, "training images to search, evenly spread; 0 is all")
	f.StringVar(&o.Out, "out", o.Out, "picture to write")
	opened(f, &o.Open)
	f.BoolVar(&asJSON, "json", false, "print a JSON list")
	return c
}
