package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flows"
)

func newPresets() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "presets [NAME]",
		Short: "List the named sets of flags that train --preset takes",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("contraflow presets wants at most one name, found %d arguments: see %s --help", len(args), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			names := flows.PresetNames()
			if len(args) == 1 {
				names = args
			}
			var all []flows.Preset
			for _, n := range names {
				p, err := flows.LoadPreset(n)
				if err != nil {
					return usageError{err}
				}
				all = append(all, p)
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return json.NewEncoder(out).Encode(all)
			}
			if len(args) == 1 {
				p := all[0]
				text := fmt.Sprintf("%s: %s\nfrom: %s\ncontraflow train %s --data_folder DIR", p.Name, p.About, p.Source, p.Method)
				for _, f := range p.Flags {
					text += fmt.Sprintf(" --%s=%s", f.Name, f.Value)
				}
				fmt.Fprintln(out, text)
				return nil
			}
			w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
			for _, p := range all {
				fmt.Fprintf(w, "%s\ttrain %s\t%s\n", p.Name, p.Method, p.About)
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	return c
}
