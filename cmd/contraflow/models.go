package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/encoders"
)

func newModels() *cobra.Command {
	return &cobra.Command{
		Use:   "models",
		Short: "List the networks of --model",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "model\tparameters\tfor")
			for _, name := range encoders.Names() {
				m, err := encoders.Lookup(name, 128)
				if err != nil {
					return err
				}
				channels, method := []int{3}, "moco, insdis, supervised"
				if m.Multi {
					channels, method = []int{1, 2}, "cmc, predict, supervised"
				}
				n := 0
				for _, c := range channels {
					for _, p := range m.Net.Tower(c, 224).Params {
						if p.Role.Trainable() {
							n += p.Len()
						}
					}
				}
				fmt.Fprintf(t, "%s\t%.1f M\t%s\n", name, float64(n)/1e6, method)
			}
			return t.Flush()
		},
	}
}
