package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/contraflow/contraflow/flows"
)

// limited is a flag that refuses values which parse and make no sense, so that they are mistakes in the command line.
type limited struct {
	pflag.Value
	check func(v string) error
}

func (l limited) Set(s string) error {
	if err := l.Value.Set(s); err != nil {
		return err
	}
	return l.check(l.Value.String())
}

func limit(fs *pflag.FlagSet, check func(v string) error, names ...string) {
	for _, name := range names {
		f := fs.Lookup(name)
		f.Value = limited{f.Value, check}
	}
}

// atLeast limits whole numbers.
func atLeast(least int, fs *pflag.FlagSet, names ...string) {
	limit(fs, func(v string) error {
		if n, err := strconv.Atoi(v); err != nil || n < least {
			return fmt.Errorf("must be %d or more", least)
		}
		return nil
	}, names...)
}

// between limits whole numbers from both sides.
func between(least, most int, fs *pflag.FlagSet, names ...string) {
	limit(fs, func(v string) error {
		if n, err := strconv.Atoi(v); err != nil || n < least || n > most {
			return fmt.Errorf("must be between %d and %d", least, most)
		}
		return nil
	}, names...)
}

// limitWorkers limits numbers of workers and threads.
func limitWorkers(fs *pflag.FlagSet, names ...string) { between(0, flows.MostWorkers, fs, names...) }

// oneOf limits a flag to a list.
func oneOf(fs *pflag.FlagSet, name string, from ...string) {
	limit(fs, func(v string) error {
		if !slices.Contains(from, v) {
			return fmt.Errorf("choose one of %s", strings.Join(from, ", "))
		}
		return nil
	}, name)
}

// decoders are the choices of --decoder.
var decoders = []string{"auto", "turbo", "go"}

// opened adds the flags that say how an encoder is opened to be judged.
func opened(fs *pflag.FlagSet, o *flows.Open) {
	fs.StringVar(&o.View, "view", "", "colour space; empty takes what the file says, or Lab where it says nothing; another than the file's is refused")
	fs.Var(flows.ListFlag(&o.Towers), "towers", "towers whose features are joined, such as 0 or 0,1; empty is all")
	fs.StringVar(&o.Device, "device", "auto", "where the encoder runs: auto, cpu, cuda or cuda:N")
	fs.IntVar(&o.Threads, "threads", 0, "compute threads; 0 is one a core")
	limitWorkers(fs, "threads")
	badSamples(fs, &o.BadSamples)
}

// badSamples adds the flag of commands that leave unreadable images out.
func badSamples(fs *pflag.FlagSet, to **float64) {
	fs.Var(share{to}, "bad_samples", "largest share of unreadable images, which are left out; more end the command; by default that of training")
}

// share is a flag of a number in [0,1] that stays nil when it is not given.
type share struct{ to **float64 }

func (s share) String() string { return "" }
func (s share) Type() string   { return "float64" }

func (s share) Set(text string) error {
	v, err := strconv.ParseFloat(text, 64)
	if err == nil && !(v >= 0 && v <= 1) {
		err = errors.New("must be in [0,1]")
	}
	*s.to = &v
	return err
}

// leftOut warns of every image that is left out, and counts them.
func leftOut(log zerolog.Logger) func(name string, err error) {
	n := 0
	return func(name string, err error) {
		n++
		log.Warn().Str("image", name).Int("bad", n).Msg("left out, since it could not be read: " + err.Error())
	}
}

// counted is a number of things in words.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// unreadable is what a result says of images that are left out.
func unreadable(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d unreadable left out", n)
}

// needsFolder refuses a command without images.
func needsFolder(folder string) error {
	if folder == "" {
		return usagef("--data_folder is missing: give the folder that holds train/<class>/<images>")
	}
	return nil
}
