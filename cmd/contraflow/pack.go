package main

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flows"
)

func newDataPack() *cobra.Command {
	o := flows.DefaultPack
	var asJSON bool
	c := &cobra.Command{
		Use:   "pack --data_folder DIR --out DIR",
		Short: "Write a data set as indexed tar shards with checksums",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Check(); err != nil {
				return usageError{err}
			}
			ctx, stop, done := stopper(cmd.Context())
			defer done()
			ctx, cancel := flows.Until(ctx, stop)
			defer cancel()
			log := logger(cmd.ErrOrStderr(), false)
			r, err := flows.Pack(ctx, o, func(format string, args ...any) { log.Warn().Msgf(format, args...) })
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return json.NewEncoder(out).Encode(r)
			}
			fmt.Fprintf(out, "%s: %s in %s, %.1f MB\n", o.Out, counts(r.Samples), counted(r.Shards, "shard"), float64(r.Bytes)/1e6)
			fmt.Fprintf(out, "%d scaled, %s made baseline, %d left out\n", r.Scaled, counted(r.Baselined, "progressive file"), len(r.Bad))
			if r.Kept > 0 {
				fmt.Fprintf(out, "%s not made baseline, since libjpeg-turbo is not there (Debian: apt-get install libturbojpeg0)\n", counted(r.Kept, "progressive file"))
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.Folder, "data_folder", "", "images, as train takes them")
	f.StringVar(&o.Out, "out", "", "folder to write; must be new or empty")
	f.StringSliceVar(&o.Splits, "splits", nil, "splits to pack; empty takes train, val and STL-10's unlabeled, as far as they are there, and of packed shards all")
	f.StringVar(&o.ClassList, "class_list", "", "only these classes: imagenet100, or a file with one name a line")
	f.IntVar(&o.ShortSide, "short_side", o.ShortSide, "scale images whose short side is longer to this many pixels; 0 keeps sizes")
	f.IntVar(&o.Quality, "quality", o.Quality, "quality of the JPEG files that scaling writes, 1–100")
	f.BoolVar(&o.Raw, "raw", false, "store decoded pixels, compressed with zstd, so that training decodes no JPEG")
	f.IntVar(&o.ShardMB, "shard_mb", o.ShardMB, "largest size of a shard in MiB")
	f.StringVar(&o.Decoder, "decoder", o.Decoder, "JPEG decoder: auto, turbo, go")
	f.IntVar(&o.Workers, "workers", 0, "workers; 0 is one a core")
	oneOf(f, "decoder", decoders...)
	f.Float64Var(&o.BadSamples, "bad_samples", o.BadSamples, "largest share of unreadable images, which are left out; more end the command")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func newDataVerify() *cobra.Command {
	var folder, classes, decoder string
	var splits []string
	var workers int
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify --data_folder DIR",
		Short: "Read and decode every image, compare the sums of shards, and name what is bad",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needsFolder(folder); err != nil {
				return err
			}
			ctx, stop, done := stopper(cmd.Context())
			defer done()
			ctx, cancel := flows.Until(ctx, stop)
			defer cancel()
			out := cmd.OutOrStdout()
			r, err := flows.Verify(ctx, folder, classes, decoder, splits, workers, func(b flows.BadImage) {
				if !asJSON {
					fmt.Fprintf(out, "%s: %s\n", b.Name, b.Error)
				}
			})
			if err != nil {
				return err
			}
			if asJSON {
				if err := json.NewEncoder(out).Encode(r); err != nil {
					return err
				}
				return r.Err()
			}
			fmt.Fprintf(out, "%s (%s): %d bad", counts(r.Images), r.Format, len(r.Bad))
			if r.Shards > 0 {
				fmt.Fprintf(out, ", the sums of %s compared", counted(r.Shards, "shard"))
			}
			fmt.Fprintln(out)
			return r.Err()
		},
	}
	f := c.Flags()
	f.StringVar(&folder, "data_folder", "", "images, as train takes them")
	f.StringSliceVar(&splits, "splits", nil, "splits to read; empty takes all that are there")
	f.StringVar(&classes, "class_list", "", "only these classes: imagenet100, or a file with one name a line")
	f.StringVar(&decoder, "decoder", "auto", "JPEG decoder: auto, turbo, go")
	f.IntVar(&workers, "workers", 0, "workers; 0 is one a core")
	oneOf(f, "decoder", decoders...)
	limitWorkers(f, "workers")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// counts is "train 5000, val 8000 images".
func counts(m map[string]int) string {
	var out []string
	for name, n := range m {
		out = append(out, fmt.Sprintf("%s %d", name, n))
	}
	sort.Strings(out)
	return strings.Join(out, ", ") + " images"
}
