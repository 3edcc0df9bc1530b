package prometheus

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/contraflow/contraflow"
)

// Reading is what a run is asked for at every scrape.
type Reading struct {
	Stats contraflow.Stats
	// Counters and Gauges are the numbers of training by their names, without the prefix contraflow_: "images_total",
	// "loss".
	Counters, Gauges map[string]float64
}

var (
	stage     = []string{"stage"}
	edge      = []string{"from", "to"}
	items     = desc("stage_items_total", "Items that the stage has finished; an item is a batch.", stage)
	seconds   = desc("stage_seconds_total", "Time of the stage's workers: busy, starved of input, blocked by what follows, waiting for feedback.", append(stage, "mode"))
	workers   = desc("stage_workers", "Workers of the stage.", stage)
	calls     = desc("stage_call_seconds", "Duration of the stage's calls, over the whole run.", stage)
	limits    = desc("stage_limits", "1 for the stage that limits the flow, over the whole run.", stage)
	sent      = desc("edge_items_total", "Items sent over the edge.", edge)
	waiting   = desc("edge_waiting", "Items in the edge now.", edge)
	depth     = desc("edge_depth", "Items that the edge holds.", edge)
	occupancy = desc("edge_occupancy", "Mean of the items that were waiting when another was sent.", edge)
	loops     = desc("loop_items_total", "Values sent back over the feedback edge.", []string{"loop"})
)

func desc(name, help string, labels []string) *prometheus.Desc {
	return prometheus.NewDesc("contraflow_"+name, help, labels, nil)
}

// collector reads a run when it is scraped. Descriptions of the training's numbers are made as they come.
type collector struct {
	read func() Reading
	help map[string]string
}

// Describe sends nothing: what there is depends on the graph.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the present numbers.
func (c collector) Collect(out chan<- prometheus.Metric) {
	r := c.read()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	worst, found := r.Stats.Bottleneck()
	for _, s := range r.Stats.Stages {
		send(items, prometheus.CounterValue, float64(s.Items), s.Name)
		send(seconds, prometheus.CounterValue, s.Busy.Seconds(), s.Name, "busy")
		send(seconds, prometheus.CounterValue, s.Starved.Seconds(), s.Name, "starved")
		send(seconds, prometheus.CounterValue, s.Blocked.Seconds(), s.Name, "blocked")
		send(seconds, prometheus.CounterValue, s.Waited.Seconds(), s.Name, "waited")
		send(workers, prometheus.GaugeValue, float64(s.Workers), s.Name)
		out <- prometheus.MustNewConstSummary(calls, uint64(max(s.Items, 0)), s.Busy.Seconds(),
			map[float64]float64{0.5: s.P50.Seconds(), 0.9: s.P90.Seconds(), 0.99: s.P99.Seconds()}, s.Name)
		is := 0.0
		if found && s.Name == worst.Name {
			is = 1
		}
		send(limits, prometheus.GaugeValue, is, s.Name)
	}
	for _, e := range r.Stats.Edges {
		send(sent, prometheus.CounterValue, float64(e.Items), e.From, e.To)
		send(waiting, prometheus.GaugeValue, float64(e.Waiting), e.From, e.To)
		send(depth, prometheus.GaugeValue, float64(e.Depth), e.From, e.To)
		send(occupancy, prometheus.GaugeValue, e.Occupancy, e.From, e.To)
	}
	for _, l := range r.Stats.Loops {
		send(loops, prometheus.CounterValue, float64(l.Items), l.Name)
	}
	for kind, values := range map[prometheus.ValueType]map[string]float64{prometheus.CounterValue: r.Counters, prometheus.GaugeValue: r.Gauges} {
		for name, v := range values {
			send(desc(name, c.about(name), nil), kind, v)
		}
	}
}

func (c collector) about(name string) string {
	if h := c.help[name]; h != "" {
		return h
	}
	return "Of the last step: " + name + "."
}
