package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/flows"
)

// progress prints one status a second: a bar on a terminal, plain lines elsewhere.
type progress struct {
	out    io.Writer
	run    *flows.Run
	bar    *progressbar.ProgressBar
	quiet  bool
	every  int // print the reference's line every so many steps
	mu     sync.Mutex
	last   time.Time
	images int
	stats  contraflow.Stats
	begun  time.Time

	embedding map[string]float64 // last spread and rank of each tower's embeddings

	// Of the reference's line.
	stepEnd     time.Time
	batch, wait mean
	starved     time.Duration
}

// mean is a last value and the average over an epoch.
type mean struct {
	last, sum float64
	n         int
}

func (m *mean) add(v float64) { m.last, m.sum, m.n = v, m.sum+v, m.n+1 }

func (m *mean) String() string { return fmt.Sprintf("%.3f (%.3f)", m.last, m.sum/float64(max(m.n, 1))) }

func newProgress(out *os.File, r *flows.Run, quiet bool) *progress {
	p := &progress{out: out, run: r, quiet: quiet, last: time.Now(), begun: time.Now()}
	if !quiet && term.IsTerminal(int(out.Fd())) {
		total, done := r.Steps()
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(out), progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionFullWidth())
		p.bar.Set(done)
	}
	return p
}

func (p *progress) step(rep *flows.StepReport) {
	if p.quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.images += rep.Samples
	for _, v := range rep.Health {
		if p.embedding == nil {
			p.embedding = map[string]float64{}
		}
		p.embedding[v.Name] = v.V
	}
	if p.every > 0 {
		p.referenceLine(rep)
		return
	}
	if p.bar != nil {
		p.bar.Set(rep.Plan.Step + 1)
	}
	now := time.Now()
	if now.Sub(p.last) < time.Second {
		return
	}
	stats := p.run.Stats()
	window := stats.Since(p.stats)
	limit := "-"
	if st, ok := window.Bottleneck(); ok {
		limit = fmt.Sprintf("%s %.0f %%", st.Name, 100*window.Share(st))
	}
	total, _ := p.run.Steps()
	line := fmt.Sprintf("epoch %d step %d/%d  %.1f images/s  loss %.4f  lr %.4g  %slimit: %s",
		rep.Plan.Epoch, rep.Plan.Step+1, total, float64(p.images)/now.Sub(p.last).Seconds(), rep.Loss, rep.LR, p.health(), limit)
	if held := p.run.DeviceMemory(); held > 0 {
		line += fmt.Sprintf("  device memory %.1f GiB", float64(held)/(1<<30))
	}
	if p.bar != nil {
		p.bar.Describe(line)
	} else {
		fmt.Fprintln(p.out, line)
	}
	p.last, p.images, p.stats = now, 0, stats
}

// health is the smallest spread of a tower's embeddings, 1 being even and 0 collapsed, and the smallest rank.
func (p *progress) health() string {
	spread, rank := math.Inf(1), math.Inf(1)
	for name, v := range p.embedding {
		if strings.HasSuffix(name, "_std") {
			spread = min(spread, v)
		} else {
			rank = min(rank, v)
		}
	}
	if math.IsInf(spread, 1) {
		return ""
	}
	line := fmt.Sprintf("spread %.2f", spread)
	if !math.IsInf(rank, 1) { // a resumed run has none for its first steps
		line += fmt.Sprintf(" rank %.0f", rank)
	}
	if spread < 0.1 {
		line += " (collapsing)"
	}
	return line + "  "
}

// referenceLine prints what the reference prints every --print_freq batches: seconds a batch, seconds waiting for data, loss
// and probability, each with its average over the epoch.
func (p *progress) referenceLine(rep *flows.StepReport) {
	now, starved := time.Now(), time.Duration(0)
	for _, s := range p.run.Stats().Stages {
		if s.Name == "encode" {
			starved = s.Starved
		}
	}
	if p.stepEnd.IsZero() {
		p.stepEnd = p.begun
	}
	if rep.Plan.Batch == 0 {
		p.batch, p.wait = mean{}, mean{}
	}
	p.batch.add(now.Sub(p.stepEnd).Seconds())
	p.wait.add((starved - p.starved).Seconds())
	p.stepEnd, p.starved = now, starved
	if (rep.Plan.Batch+1)%p.every != 0 {
		return
	}
	a := p.run.Averages()
	fmt.Fprintf(p.out, "Train: [%d][%d/%d]\tBT %v\tDT %v\tloss %.3f (%.3f)", rep.Plan.Epoch, rep.Plan.Batch+1, rep.Plan.Of, &p.batch, &p.wait, rep.Loss, a.Mean("loss"))
	for _, v := range rep.Values {
		if name, ok := strings.CutSuffix(v.Name, "_prob"); ok {
			name += "_p"
			if name == "ins_p" {
				name = "prob"
			}
			fmt.Fprintf(p.out, "\t%s %.3f (%.3f)", name, v.V, a.Mean(v.Name))
		}
	}
	fmt.Fprintln(p.out)
}

func (p *progress) end() {
	if p.bar != nil {
		p.bar.Exit()
		fmt.Fprintln(p.out)
	}
}

// groupedUsage prints a training command's flags by group, each with its default and where that comes from.
func groupedUsage(cmd *cobra.Command) error {
	w := cmd.OutOrStderr()
	fmt.Fprintf(w, "Usage:\n  %s\n", cmd.UseLine())
	var order []string
	groups := map[string][]*pflag.Flag{}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name := "Other"
		if g := f.Annotations["group"]; len(g) > 0 {
			name = g[0]
		}
		if _, seen := groups[name]; !seen {
			order = append(order, name)
		}
		groups[name] = append(groups[name], f)
	})
	for _, name := range order {
		fmt.Fprintf(w, "\n%s:\n", name)
		for _, f := range groups[name] {
			label := "--" + f.Name
			if f.Value.Type() != "bool" {
				label += " " + strings.ToUpper(f.Value.Type())
			}
			text := f.Usage
			if f.DefValue != "" && f.DefValue != "false" {
				text += " [" + f.DefValue + "]"
			}
			fmt.Fprintf(w, "  %-28s %s\n", label, text)
		}
	}
	return nil
}
