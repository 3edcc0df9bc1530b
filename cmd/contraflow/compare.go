package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flows"
)

func newCompare() *cobra.Command {
	out := "compare.html"
	c := &cobra.Command{
		Use:   "compare RUN RUN…",
		Short: "Write one page on several runs: results, options that differ, curves together",
		Args:  folders("compare", 2, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("--out is missing: give the file to write")
			}
			if err := flows.CompareRuns(args, out); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), out)
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", out, "file to write")
	return c
}
