package flows

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/contraflow/contraflow/io/report"
)

// CompareRuns writes one page on several runs: what each reached, where their options differ, and their curves together.
func CompareRuns(dirs []string, out string) error {
	if err := takes(out); err != nil {
		return err
	}
	var runs []*runRecord
	names := map[string]int{}
	for _, dir := range dirs {
		r, err := readRun(dir)
		if err != nil {
			return err
		}
		names[r.name]++
		runs = append(runs, r)
	}
	for i, r := range runs { // folders of one name are told apart by their paths
		if names[r.name] > 1 {
			r.name = filepath.Clean(dirs[i])
		}
	}
	p := report.Page{Title: fmt.Sprintf("contraflow: %d runs", len(runs)), Tables: []report.Table{results(runs)}}
	if t := differences(runs); len(t.Rows) > 1 {
		p.Tables = append(p.Tables, t)
	} else {
		p.Notes = append(p.Notes, "The runs have the same options.")
	}
	p.Charts = together(runs)
	for _, r := range runs {
		if line := r.command(false); line != "" {
			p.Commands = append(p.Commands, report.Command{Does: r.name, Line: line})
		}
	}
	return ReplaceFile(out, func(w io.Writer) error { return report.Write(w, p) })
}

// results is a row a run.
func results(runs []*runRecord) report.Table {
	t := report.Table{Title: "Results", Rows: [][]string{{"run", "method", "model", "steps", "loss", "kNN top-1", "best kNN", "probe top-1", "probe top-5", "layer", "images/s", "seconds"}}}
	for _, r := range runs {
		row := []string{r.name, r.manifest.Method, r.setting("model"), "", "", "", "", "", "", "", "", ""}
		if n := len(r.steps); n > 0 {
			row[3] = strconv.Itoa(r.steps[n-1].Step + 1)
		}
		if v, ok := r.lastMean("loss"); ok {
			row[4] = strconv.FormatFloat(v, 'g', 4, 64)
		}
		if n := len(r.knn); n > 0 {
			best := 0.0
			for _, s := range r.knn {
				if s.Epoch > 0 { // before is the untrained encoder
					best = max(best, s.KNN)
					row[6] = percent(best)
				}
			}
			row[5], row[11] = percent(r.knn[n-1].KNN), fmt.Sprintf("%.0f", r.knn[n-1].Seconds)
		}
		if r.probe != nil {
			row[2], row[7], row[9], row[11] = r.probe.Model, percent(r.probe.Top1), strconv.Itoa(r.probe.Layer), fmt.Sprintf("%.0f", r.probe.Seconds)
			if r.probe.Top5 != nil {
				row[8] = percent(*r.probe.Top5)
			}
		}
		if v, ok := r.lastSpeed(); ok {
			row[10] = fmt.Sprintf("%.0f", v)
		}
		t.Rows = append(t.Rows, row)
	}
	return withoutEmpty(t)
}

// withoutEmpty drops columns that no row fills.
func withoutEmpty(t report.Table) report.Table {
	out := report.Table{Title: t.Title, Note: t.Note, Rows: make([][]string, len(t.Rows))}
	for c := range t.Rows[0] {
		used := false
		for _, row := range t.Rows[1:] {
			used = used || row[c] != ""
		}
		for i, row := range t.Rows {
			if used {
				out.Rows[i] = append(out.Rows[i], row[c])
			}
		}
	}
	return out
}

// differences lists the options whose values are not the same in all runs.
func differences(runs []*runRecord) report.Table {
	t := report.Table{Title: "Options that differ"}
	header := []string{"option"}
	for _, r := range runs {
		header = append(header, r.name)
	}
	t.Rows = append(t.Rows, header)
	seen := map[string]bool{"run_name": true, "model_path": true, "save_path": true, "tb_path": true, "resume": true}
	for _, r := range runs {
		for _, o := range r.options() {
			name := o.Name[2:]
			if seen[name] {
				continue
			}
			seen[name] = true
			row, differ := []string{o.Name}, false
			for _, other := range runs { // runs without the option, such as a probe beside training, do not count
				s, has := other.manifest.Settings[name]
				if !has {
					s.Value = "–"
				}
				row = append(row, s.Value)
				differ = differ || has && s.Value != o.Value
			}
			if differ {
				t.Rows = append(t.Rows, row)
			}
		}
	}
	return t
}

// together draws the curves that runs have in common. A chart has every run, with or without points, so that a run has one colour
// in all.
func together(runs []*runRecord) (out []report.Chart) {
	add := func(c report.Chart, of func(r *runRecord) []report.Point) {
		drawn := false
		for _, r := range runs {
			points := average(of(r), epochPoints)
			drawn = drawn || len(points) > 0
			c.Series = append(c.Series, report.Series{Name: r.name, Points: points})
		}
		if drawn {
			out = append(out, c)
		}
	}
	knn := func(x func(s KNNScore) float64) func(r *runRecord) []report.Point {
		return func(r *runRecord) (p []report.Point) {
			for _, s := range r.knn {
				p = append(p, report.Point{X: x(s), Y: s.KNN})
			}
			return p
		}
	}
	epochs := func(name, x string) func(r *runRecord) []report.Point {
		return func(r *runRecord) (p []report.Point) {
			for _, m := range r.epochs {
				at := float64(m.Epoch)
				if x != "" {
					at, _ = r.value(m, x)
				}
				y, _ := r.value(m, name)
				p = append(p, report.Point{X: at, Y: y})
			}
			return p
		}
	}
	var units []string
	for _, r := range runs {
		if u := r.lossUnit(); !slices.Contains(units, u) {
			units = append(units, u)
		}
	}
	add(report.Chart{Title: "Loss", XLabel: "step", YLabel: strings.Join(units, ", ")}, func(r *runRecord) []report.Point { return r.series("loss").Points })
	add(report.Chart{Title: "kNN accuracy", XLabel: "epoch", YLabel: "top-1"}, knn(func(s KNNScore) float64 { return float64(s.Epoch) }))
	add(report.Chart{Title: "kNN accuracy against wall time", XLabel: "seconds of training", YLabel: "top-1"}, knn(func(s KNNScore) float64 { return s.Seconds }))
	add(report.Chart{Title: "Probe accuracy", XLabel: "epoch", YLabel: "val top-1"}, epochs("test_acc", ""))
	add(report.Chart{Title: "Probe accuracy against wall time", XLabel: "seconds", YLabel: "val top-1"}, epochs("test_acc", "seconds"))
	add(report.Chart{Title: "Mean similarity of positives", XLabel: "epoch", YLabel: "cosine"}, func(r *runRecord) (p []report.Point) {
		for _, s := range r.sims {
			p = append(p, report.Point{X: float64(s.Epoch), Y: s.PosMean})
		}
		return p
	})
	add(report.Chart{Title: "Learning rate", XLabel: "step", YLabel: "rate"}, func(r *runRecord) []report.Point { return r.series("lr").Points })
	add(report.Chart{Title: "Speed", XLabel: "step", YLabel: "images/s"}, func(r *runRecord) []report.Point { return r.speed().Points })
	return out
}
