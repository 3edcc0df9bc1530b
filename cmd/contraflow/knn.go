package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flows"
)

func newKNN() *cobra.Command {
	var model, folder string
	var asJSON, untrained bool
	var with flows.Open
	k := flows.DefaultKNN
	c := &cobra.Command{
		Use:   "knn --model_path FILE|RUN --data_folder DIR",
		Short: "Score an encoder by weighted nearest neighbours",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if model == "" || folder == "" {
				return usagef("--model_path and --data_folder are both needed: a checkpoint or run folder, and a folder with train/ and val/")
			}
			if k.K < 1 || !(k.T > 0) {
				return usagef("--k %d, --t %v: both must be positive", k.K, k.T)
			}
			if err := with.Check(); err != nil {
				return usageError{err}
			}
			ctx, stop, done := stopper(cmd.Context())
			defer done()
			ctx, cancel := flows.Until(ctx, stop)
			defer cancel()
			with.OnBad = leftOut(logger(cmd.ErrOrStderr(), false))
			s, err := flows.ScoreKNN(ctx, model, folder, k, with)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON {
				return json.NewEncoder(w).Encode(s)
			}
			if !untrained {
				fmt.Fprintf(w, "kNN top-1 %.4f  (k %d, %d training and %d validation images%s)\n", s.KNN, s.K, s.Train, s.Val, unreadable(s.Bad))
			}
			fmt.Fprintf(w, "untrained %.4f\n", s.Untrained)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&model, "model_path", "", "checkpoint or run folder")
	f.StringVar(&folder, "data_folder", "", "images, as train takes them, of train and val")
	f.IntVar(&k.K, "k", k.K, "neighbours that vote; all, when there are fewer")
	f.Float64Var(&k.T, "t", k.T, "temperature of the votes")
	opened(f, &with)
	f.BoolVar(&untrained, "untrained", false, "only the freshly initialised encoder of the same shape, which is otherwise printed beside")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}
