package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/flows"
)

// traceSpans is how many spans a trace keeps, the newest.
const traceSpans = 1 << 19

const traceUsage = "file for a trace that ui.perfetto.dev opens: a row a stage worker, batches as spans, device spans"

func newProfile() *cobra.Command {
	c := group("profile", "Run a flow for a while and say which stage limits it, and what loading and compute would do alone")
	for _, m := range methods {
		c.AddCommand(newProfileMethod(m.name, m.short))
	}
	return c
}

func newProfileMethod(method, short string) *cobra.Command {
	p := flows.ProfileOptions{}
	var trace, graph string
	var asJSON bool
	c := newFlow(method, short, func(cmd *cobra.Command, o flows.Options, _ []string) error {
		if !(p.Seconds > 0 && p.Seconds <= 86400) {
			return usagef("--seconds %v: must be positive, and at most a day", p.Seconds)
		}
		draw, err := drawing(graph)
		if err != nil {
			return usageError{err}
		}
		for flag, path := range map[string]string{"trace": trace, "graph": graph} {
			if err := writable(path); err != nil {
				return fmt.Errorf("--%s: %w", flag, err)
			}
		}
		if trace != "" {
			p.Trace = contraflow.NewTrace(traceSpans)
		}
		log := logger(cmd.ErrOrStderr(), o.Run.Quiet)
		p.Say = func(format string, args ...any) { log.Info().Msgf(format, args...) }
		ctx, stop, done := stopper(cmd.Context())
		defer done()
		ctx, cancel := flows.Until(ctx, stop)
		defer cancel()
		res, err := flows.ProfileRun(ctx, o, p)
		if err != nil {
			return err
		}
		if trace != "" {
			if err := writeFile("trace", trace, p.Trace.WriteJSON); err != nil {
				return err
			}
		}
		if graph != "" {
			if err := writeFile("graph", graph, func(w io.Writer) error { return draw(res.Flow.Stats, w, "batches") }); err != nil {
				return err
			}
		}
		out := cmd.OutOrStdout()
		if asJSON {
			return json.NewEncoder(out).Encode(res.JSON())
		}
		return res.WriteText(out)
	})
	f := c.Flags()
	f.Float64Var(&p.Seconds, "seconds", 20, "how long the flow runs; each half alone then runs a quarter of that")
	f.StringVar(&trace, "trace", "", traceUsage)
	const about = "file for a drawing of the flow with rates on its edges, .svg or .dot"
	if pairs := f.Lookup("graph"); pairs != nil { // train cmc has a flag of this name
		pairs.Value = &pairsOrFile{pairs.Value, &graph}
		pairs.Usage += "; or " + about
	} else {
		f.StringVar(&graph, "graph", "", about)
	}
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	for _, name := range []string{"seconds", "trace", "graph", "json"} {
		if f.Lookup(name).Annotations == nil {
			f.Lookup(name).Annotations = map[string][]string{"group": {"Profile"}}
		}
	}
	return c
}

// pairsOrFile is --graph of profile cmc: core and full choose pairs of views as in train cmc, a file name asks for a drawing.
// It may be given twice.
type pairsOrFile struct {
	pflag.Value
	file *string
}

func (v *pairsOrFile) Set(s string) error {
	if _, err := drawing(s); err == nil {
		*v.file = s
		return nil
	}
	if err := v.Value.Set(s); err != nil {
		return fmt.Errorf("%w, or a file name that ends in .svg or .dot", err)
	}
	return nil
}

// drawing chooses how to draw by a file's name.
func drawing(name string) (func(s contraflow.Stats, w io.Writer, unit string) error, error) {
	switch filepath.Ext(name) {
	case "":
		if name == "" {
			return nil, nil
		}
	case ".svg":
		return contraflow.Stats.WriteSVG, nil
	case ".dot":
		return contraflow.Stats.WriteDOT, nil
	}
	return nil, fmt.Errorf("--graph %s: the name must end in .svg or .dot", name)
}

// writable finds out before minutes of measuring whether a file can be written, and leaves none behind.
func writable(path string) error {
	if path == "" {
		return nil
	}
	_, missing := os.Stat(path)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = f.Close()
	if missing != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// profiled runs work, and writes a profile of it unless path is "".
func profiled(path string, work func() error) error {
	if err := writable(path); err != nil {
		return fmt.Errorf("--cpuprofile: %w", err)
	}
	if path == "" {
		return work()
	}
	var profile bytes.Buffer
	if err := pprof.StartCPUProfile(&profile); err != nil {
		return fmt.Errorf("--cpuprofile: %w", err)
	}
	err := work()
	pprof.StopCPUProfile()
	if err != nil {
		return err
	}
	return writeFile("cpuprofile", path, func(w io.Writer) error {
		_, err := profile.WriteTo(w)
		return err
	})
}

// writeFile writes what a flag asks for.
func writeFile(flag, path string, write func(io.Writer) error) error {
	if err := flows.ReplaceFile(path, write); err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	return nil
}
