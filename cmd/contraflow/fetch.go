package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/fetch"
)

func newDataFetch() *cobra.Command {
	var out, mirror string
	var o fetch.Options
	var quiet bool
	c := &cobra.Command{
		Use:   "fetch " + strings.Join(flows.Archives(), "|") + " --out DIR",
		Short: "Download a published data set, going on where an earlier download stopped, and check its sum",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(flows.Archives(), args[0]) {
				return usagef("fetch takes one data set of %s, found %q: see %s --help", strings.Join(flows.Archives(), ", "), args, cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("--out is missing: give the folder to download into")
			}
			ctx, stop, done := stopper(cmd.Context())
			defer done()
			ctx, cancel := flows.Until(ctx, stop)
			defer cancel()
			if !quiet && term.IsTerminal(int(os.Stderr.Fd())) {
				var bar *progressbar.ProgressBar
				o.Progress = func(now, total int64) {
					if bar == nil {
						bar = progressbar.DefaultBytes(total, args[0])
					}
					bar.Set64(now)
				}
			}
			folder, err := flows.Fetch(ctx, args[0], out, mirror, o)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is complete: train with --data_folder %s\n", folder, out)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&out, "out", "", "folder to download into")
	f.StringVar(&mirror, "url", "", "address of the archive; empty is its publisher's")
	f.BoolVar(&o.Keep, "keep_archive", false, "keep the archive beside the unpacked folder")
	f.BoolVar(&quiet, "quiet", false, "no progress bar")
	return c
}
