// Command contraflow trains, judges, converts and profiles contrastive image encoders.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/contraflow/contraflow/flows"
)

// Exit codes. A run that a signal stopped after its checkpoint exits with exitStopped, so that a scheduler knows to
// start it again.
const (
	exitError   = 1
	exitUsage   = 2
	exitStopped = 75
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) (code int) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(os.Stderr, "contraflow: internal error: %v: please report it with the command line\n", r)
			code = exitError
		}
	}()
	root := newRoot()
	root.SetArgs(args)
	out := &printed{to: os.Stdout}
	root.SetOut(out)
	ctx, done := endAtOnce(context.Background())
	defer done()
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = out.failed()
	}
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flows.ErrStopped):
		return exitStopped
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "contraflow: %s\n", line(err))
		return exitUsage
	default:
		fmt.Fprintf(os.Stderr, "contraflow: %s\n", line(err))
		return exitError
	}
}

// line keeps an error to one line: whatever follows belongs into a log. Only a signal ends the context of a command.
func line(err error) string {
	if errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "contraflow",
		Short: "Contrastive pretraining of image encoders as a graph of stages",
		Long: "contraflow trains image encoders by contrast (CMC, MoCo, instance discrimination, with image mixture),\n" +
			"judges them (kNN, linear probes), and shows where the time goes.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return noCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "-", "_"))
	})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 { // of a command that does not exist no flag is known
			return noCommand(cmd, words[0])
		}
		return usagef("%w: see %s --help", flows.FlagError(err), cmd.CommandPath())
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newTrain(), newProfile(), newPreview(), newDemo(), newData(), newModels(), newPresets(), newStudy(), newBench(), newConvert(), newInspect(), newDiff())
	root.AddCommand(newKNN(), newProbe(), newReport(), newCompare(), newEmbed(), newRetrieve())
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Args = func(_ *cobra.Command, args []string) error {
			if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
				return usagef("there is no command %q: see contraflow --help", strings.Join(args, " "))
			}
			return nil
		}
	}
	return root
}

// usageError is a mistake in the command line.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// group is a command that only holds others.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return noCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	c.AddCommand(children...)
	return c
}

// noCommand is the error of a word that is no command.
func noCommand(parent *cobra.Command, word string) error {
	return usagef("%s has no command %q: see %s --help", parent.CommandPath(), word, parent.CommandPath())
}

// noArgs refuses positional arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, found %q: see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}
