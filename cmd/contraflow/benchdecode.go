package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flows"
)

func newBenchDecode() *cobra.Command {
	var asJSON bool
	var profile string
	b := flows.DecodeBench{}
	c := &cobra.Command{
		Use: "decode --path cmc|moco --data_folder DIR", Short: "The loading half of a flow: decode, crop, jitter, colours, into nothing", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needsFolder(b.Folder); err != nil {
				return err
			}
			if err := b.Check(); err != nil {
				return usageError{err}
			}
			var r flows.DecodeResult
			if err := profiled(profile, func() (err error) {
				r, err = b.Run(cmd.Context())
				return err
			}); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return json.NewEncoder(out).Encode(r)
			}
			w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "images/s\t%.1f\na core\t%.1f\ndecoder\t%s\n", r.ImagesPerS, r.ImagesPerSPerCore, r.Decoder)
			for _, n := range slices.Sorted(maps.Keys(r.Stages)) {
				s := r.Stages[n]
				fmt.Fprintf(w, "%s\t%.0f %% busy on %d\tp50 %.2f ms\tp99 %.2f ms a batch\n", n, 100*s.Busy, s.Workers, s.P50MS, s.P99MS)
			}
			return w.Flush()
		},
	}
	f := c.Flags()
	f.StringVar(&b.Path, "path", "cmc", "whose loading: cmc, moco, insdis")
	f.StringVar(&b.Folder, "data_folder", "", "images, as train takes them")
	f.IntVar(&b.Workers, "workers", 1, "decode workers; the process is held to as many cores")
	f.IntVar(&b.ImageSize, "image_size", 224, "side of the crops in pixels")
	f.IntVar(&b.Batch, "batch", 32, "images a batch")
	f.Float64Var(&b.Seconds, "seconds", 10, "seconds of running, of which the last four fifths count")
	f.StringVar(&b.Decoder, "decoder", "auto", "JPEG decoder: auto, turbo, go")
	oneOf(f, "decoder", decoders...)
	f.Float64Var(&b.CropLow, "crop_low", 0, "lower bound of a crop's share of the area; 0 takes the flow's")
	f.StringVar(&profile, "cpuprofile", "", "file for a profile that go tool pprof reads")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}
