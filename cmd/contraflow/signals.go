package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// answering is in the context of a command: whether it answers signals itself.
type answering struct{}

// endAtOnce ends a command that does not call stopper at the first SIGINT or SIGTERM: it has nothing to save.
func endAtOnce(ctx context.Context) (_ context.Context, done func()) {
	itself := new(atomic.Bool)
	signals, finished := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			if !itself.Load() {
				fmt.Fprintf(os.Stderr, "contraflow: %s\n", line(context.Canceled))
				os.Exit(exitError)
			}
		case <-finished:
		}
	}()
	return context.WithValue(ctx, answering{}, itself), func() {
		signal.Stop(signals)
		close(finished)
	}
}

// stopper turns the first SIGINT or SIGTERM into a request to stop after the step in flight, with a checkpoint. The second
// ends the process at once: what is on the disk is then what a kill -9 would leave, the last checkpoint and nothing half done.
func stopper(ctx context.Context) (_ context.Context, stop <-chan struct{}, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	asked := make(chan struct{})
	finished := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if itself, ok := ctx.Value(answering{}).(*atomic.Bool); ok {
		itself.Store(true)
	}
	go func() {
		select {
		case <-signals:
			close(asked)
		case <-finished:
			return
		}
		select {
		case <-signals:
			fmt.Fprintf(os.Stderr, "\ncontraflow: stopped at once: nothing more is saved\n")
			os.Exit(exitError)
		case <-finished:
		}
	}()
	var once sync.Once
	return ctx, asked, func() {
		once.Do(func() {
			signal.Stop(signals)
			close(finished)
			cancel()
		})
	}
}

// tellStopped prints how a run that was told to stop goes on.
func tellStopped() {
	fmt.Fprintf(os.Stderr, "stopped after a checkpoint; go on with:\n  %s\n", resumeCommand(os.Args))
}

// plainWord needs no quotes in any shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// resumeCommand is a run's command line with --resume auto, as a shell reads it.
func resumeCommand(args []string) string {
	var out []string
	skip := false
	for _, a := range args {
		switch {
		case skip:
			skip = false
		case a == "--resume":
			skip = true
		case strings.HasPrefix(a, "--resume="):
		case plainWord.MatchString(a):
			out = append(out, a)
		default:
			out = append(out, "'"+strings.ReplaceAll(a, "'", `'\''`)+"'")
		}
	}
	return strings.Join(out, " ") + " --resume auto"
}
