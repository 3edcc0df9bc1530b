package main

import (
	"os"
	"os/signal"
	"syscall"
)

// orUnread is stop that is also closed once nobody reads what is printed any more, as in train … | head: the run then ends with a
// checkpoint, and not by SIGPIPE without one. What is printed later is lost.
func orUnread(stop <-chan struct{}) (_ <-chan struct{}, done func()) {
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	either, finished := make(chan struct{}), make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
			case <-broken:
				if !unread(os.Stdout) && !unread(os.Stderr) { // a reader of /metrics went away
					continue
				}
			case <-finished:
				return
			}
			close(either)
			return
		}
	}()
	return either, func() {
		signal.Stop(broken)
		close(finished)
	}
}
