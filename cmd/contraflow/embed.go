package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flows"
)

func newEmbed() *cobra.Command {
	o := flows.EmbedOptions{Half: "val"}
	var asJSON bool
	c := &cobra.Command{
		Use:   "embed --model_path FILE|RUN --data_folder DIR --out FILE",
		Short: "Write the features of every image, with index and label, as .npy, .safetensors or .parquet",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.ModelPath == "" || o.DataFolder == "" || o.Out == "" {
				return usagef("--model_path, --data_folder and --out are all needed: an encoder, images, and a file that ends in .npy, .safetensors or .parquet")
			}
			if err := o.Check(); err != nil {
				return usageError{err}
			}
			o.OnBad = leftOut(logger(cmd.ErrOrStderr(), false))
			ctx, stop, done := stopper(cmd.Context())
			defer done()
			ctx, cancel := flows.Until(ctx, stop)
			defer cancel()
			res, err := flows.EmbedFile(ctx, o)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(res)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s, %s of %s %s: %s%s\n", counted(res.Images, "image"), counted(res.Features, "feature"), res.Model, res.Layer, strings.Join(res.Files, ", "), unreadable(res.Bad))
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.ModelPath, "model_path", "", "run folder, checkpoint, .pth, .safetensors or .npz")
	f.StringVar(&o.DataFolder, "data_folder", "", "images, as train takes them, of train and val")
	f.StringVar(&o.Half, "half", o.Half, "images to embed: train or val")
	f.IntVar(&o.Layer, "layer", 0, "layer, from 1; 0 is the one before the embedding's head, which kNN compares")
	f.StringVar(&o.Out, "out", "", "file to write")
	f.BoolVar(&o.Raw, "raw", false, "features as they are, instead of scaling each tower's to length one")
	f.IntVar(&o.ImageSize, "image_size", 0, "side of the crops; 0 is that of training")
	opened(f, &o.Open)
	atLeast(0, f, "layer")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}
