package flows

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/contraflow/contraflow/io/prometheus"
	"github.com/contraflow/contraflow/stages"
)

// Live answers Prometheus while a run trains, at --metrics_addr. The nil Live does nothing.
type Live struct {
	server *prometheus.Server

	mu       sync.Mutex
	run      *Run
	counters map[string]float64
	gauges   map[string]float64
}

// liveHelp explains the numbers of training; those of the graph explain themselves.
var liveHelp = map[string]string{
	"steps_total":         "Optimiser steps done by this process.",
	"images_total":        "Images trained on by this process.",
	"bad_samples_total":   "Images that could not be read and were replaced by others.",
	"skipped_steps_total": "Steps left out because the loss or a gradient was not finite.",
	"step":                "Optimiser steps of the whole run.",
	"epoch":               "Epoch, from 1.",
	"loss":                "Loss of the last step, the mean over the batch: in nats, of train predict a distance.",
	"learning_rate":       "Learning rate of the last step.",
}

// NewLive starts to answer if the options ask for it, before anything of the run exists: an address that is taken is found
// first. Watch tells it of the run; close it at the end.
func NewLive(o Options) (*Live, error) {
	if o.Run.Metrics == "" {
		return nil, nil
	}
	l := &Live{counters: map[string]float64{}, gauges: map[string]float64{}}
	for _, name := range []string{"steps_total", "images_total", "bad_samples_total", "skipped_steps_total"} {
		l.counters[name] = 0
	}
	var err error
	if l.server, err = prometheus.Serve(o.Run.Metrics, liveHelp, l.read); err != nil {
		return nil, fmt.Errorf("--metrics_addr: %w", err)
	}
	return l, nil
}

func (l *Live) read() prometheus.Reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := prometheus.Reading{Counters: maps.Clone(l.counters), Gauges: maps.Clone(l.gauges)}
	if l.run != nil {
		r.Stats = l.run.Stats()
	}
	return r
}

// Watch answers with the numbers of a run from now on. It builds the run's graph: set the run up first, and train next.
func (l *Live) Watch(r *Run) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.graph == nil {
		r.Graph()
	}
	l.run = r
}

// Addr is where it answers, "127.0.0.1:9090".
func (l *Live) Addr() string { return l.server.Addr() }

// Step notes a finished step.
func (l *Live) Step(r *stages.Report) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counters["steps_total"]++
	l.counters["images_total"] += float64(r.Samples)
	l.counters["bad_samples_total"] += float64(len(r.Bad))
	if r.Skipped {
		l.counters["skipped_steps_total"]++
	}
	l.gauges["step"], l.gauges["epoch"] = float64(r.Plan.Step+1), float64(r.Plan.Epoch)
	l.gauges["loss"], l.gauges["learning_rate"] = r.Loss, r.LR
	for _, v := range slices.Concat(r.Values, r.Health) {
		l.gauges[v.Name] = v.V
	}
}

// Close ends the answers.
func (l *Live) Close() error {
	if l == nil {
		return nil
	}
	return l.server.Close()
}
