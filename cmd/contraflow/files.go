package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flows"
)

// errDiffer makes diff exit with 1 after it has printed what differs.
var errDiffer = errors.New("the states differ")

func newConvert() *cobra.Command {
	var namespace bool
	c := &cobra.Command{
		Use:   "convert IN OUT",
		Short: "Convert a state among " + flows.StateFormats,
		Args:  exactly(2, "the state to read and the file to write"),
		RunE: func(_ *cobra.Command, args []string) error {
			return flows.Convert(args[0], args[1], namespace)
		},
	}
	c.Flags().BoolVar(&namespace, "namespace", false, "write options into a .pth as argparse's Namespace, for scripts that read opt.model; PyTorch from 2.6 on takes it only with weights_only=False")
	c.Flags().Bool("plain", false, "")
	_ = c.Flags().MarkDeprecated("plain", "it is what convert does without flags")
	return c
}

func newInspect() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "inspect FILE",
		Short: "List tensors, shapes, types, norms, options and cursor of a state",
		Args:  exactly(1, "the file or folder to look into"),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := flows.Inspect(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(i)
			}
			return i.WriteText(cmd.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func newDiff() *cobra.Command {
	return &cobra.Command{
		Use:   "diff A B",
		Short: "Compare two states to the bit: exit 0 and \"identical\", or 1 and the first differences",
		Args:  exactly(2, "the two states to compare"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := flows.ReadState(args[0])
			if err != nil {
				return err
			}
			b, err := flows.ReadState(args[1])
			if err != nil {
				return err
			}
			const most = 20
			lines := flows.Diff(a, b)
			differ := len(lines) > 0
			if !differ {
				lines = []string{"identical"}
			} else if more := len(lines) - most; more > 0 {
				lines = append(lines[:most], fmt.Sprintf("and %d more", more))
			}
			fmt.Fprintln(cmd.OutOrStdout(), strings.Join(lines, "\n"))
			if differ {
				return errDiffer
			}
			return nil
		},
	}
}

// exactly wants n arguments and says what they are.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("%s wants %s, found %s: see %s --help", cmd.CommandPath(), what, counted(len(args), "argument"), cmd.CommandPath())
		}
		return nil
	}
}
