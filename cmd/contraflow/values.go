package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"
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

// badSamples adds the flag of commands that leave unreadable images out.
func badSamples(fs *pflag.FlagSet, to *float64) {
	fs.Float64Var(to, "bad_samples", 0, "largest share of unreadable images, which are left out; more end the command; 0 is that of training")
	limit(fs, func(v string) error {
		if share, err := strconv.ParseFloat(v, 64); err != nil || !(share >= 0 && share <= 1) {
			return fmt.Errorf("must be in [0,1]")
		}
		return nil
	}, "bad_samples")
}

// leftOut warns of every image that is left out, and counts them.
func leftOut(log zerolog.Logger) func(name string, err error) {
	n := 0
	return func(name string, err error) {
		n++
		log.Warn().Str("image", name).Int("bad", n).Msg("left out, since it could not be read: " + err.Error())
	}
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
