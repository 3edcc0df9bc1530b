package flows

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/contraflow/contraflow/stages"
)

// StepReport is what a finished step tells.
type StepReport = stages.Report

// Metrics writes metrics.jsonl: one JSON object a step, flushed, appended to what an earlier part of the run wrote.
type Metrics struct {
	f    *os.File
	w    *bufio.Writer
	last time.Time
	err  error
}

// NewMetrics opens the file in a run folder.
func NewMetrics(dir string) (*Metrics, error) {
	f, err := os.OpenFile(filepath.Join(dir, "metrics.jsonl"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	return &Metrics{f: f, w: bufio.NewWriter(f), last: time.Now()}, nil
}

// Write appends a step. Everything but images_per_s depends on the options and the data alone.
func (m *Metrics) Write(r *StepReport) {
	now := time.Now()
	b := fmt.Appendf(nil, `{"step":%d,"epoch":%d,"loss":%s`, r.Plan.Step, r.Plan.Epoch, number(r.Loss))
	for _, v := range r.Values {
		b = fmt.Appendf(b, `,%q:%s`, v.Name, number(v.V))
	}
	b = fmt.Appendf(b, `,"lr":%s,"images_per_s":%.1f,"bad":%d`, number(r.LR), float64(r.Samples)/max(now.Sub(m.last).Seconds(), 1e-9), len(r.Bad))
	if r.Skipped {
		b = append(b, `,"skipped":true`...)
	}
	b = append(b, "}\n"...)
	m.last = now
	if _, err := m.w.Write(b); err != nil && m.err == nil {
		m.err = err
	}
	if err := m.w.Flush(); err != nil && m.err == nil {
		m.err = err
	}
}

// number is a JSON number; what JSON cannot say becomes a string.
func number(v float64) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%q", fmt.Sprint(v))
	}
	return string(text)
}

// Close closes the file and returns the first error of any write.
func (m *Metrics) Close() error {
	if err := m.f.Close(); m.err == nil {
		m.err = err
	}
	if m.err != nil {
		return fmt.Errorf("metrics.jsonl: %w", m.err)
	}
	return nil
}
