package flows

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/contraflow/contraflow/stages"
)

// StepReport is what a finished step tells.
type StepReport = stages.Report

// Metrics writes metrics.jsonl: one JSON object a step, appended to what an earlier part of the run wrote. After a write that failed it
// writes no more, and Sync and Close say why.
type Metrics struct {
	f    *os.File
	last time.Time

	lock sync.Mutex // Sync runs beside Write
	err  error
}

// NewMetrics opens the file in a run folder for a run that goes on at step start: lines of that step and later ones, which
// a killed run wrote after its last checkpoint, are dropped, for they will be written again. A line before them that cannot be
// read stays: whoever reads the file names it.
func NewMetrics(dir string, start int) (*Metrics, error) {
	return openLines(filepath.Join(dir, "metrics.jsonl"), start)
}

// openLines is NewMetrics for a file of any name.
func openLines(path string, start int) (*Metrics, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	kept := int64(0)
	if start > 0 {
		kept, err = linesBefore(f, start)
	}
	if err == nil { // else what is there stays
		err = f.Truncate(kept)
	}
	if err == nil {
		_, err = f.Seek(kept, 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Metrics{f: f, last: time.Now()}, nil
}

// forget drops from a file that may be there the lines of steps that a run will do again.
func forget(path string, start int) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	m, err := openLines(path, start)
	if err != nil {
		return err
	}
	return m.Close()
}

// linesBefore is how many bytes the lines before a step take. The file of a long run has hundreds of megabytes: a line is read at a time.
func linesBefore(f io.Reader, start int) (kept int64, err error) {
	r := bufio.NewReaderSize(f, 1<<16)
	var text []byte
	for {
		text = text[:0]
		part, err := r.ReadSlice('\n')
		for ; errors.Is(err, bufio.ErrBufferFull); part, err = r.ReadSlice('\n') {
			text = append(text, part...)
		}
		if errors.Is(err, io.EOF) { // nothing is left, or a line that was cut off
			return kept, nil
		}
		if err != nil {
			return 0, err
		}
		text = append(text, part...)
		var line struct {
			Step int `json:"step"`
		}
		if json.Unmarshal(text, &line) == nil && line.Step >= start {
			return kept, nil
		}
		kept += int64(len(text))
	}
}

// Write appends a step. Everything but images_per_s depends on the options and the data alone.
func (m *Metrics) Write(r *StepReport) {
	now := time.Now()
	b := fmt.Appendf(nil, `{"step":%d,"epoch":%d,"loss":%s`, r.Plan.Step, r.Plan.Epoch, number(r.Loss))
	for _, v := range append(slices.Clip(r.Values), r.Health...) {
		b = fmt.Appendf(b, `,%q:%s`, v.Name, number(v.V))
	}
	b = fmt.Appendf(b, `,"lr":%s,"images_per_s":%.1f,"bad":%d`, number(r.LR), float64(r.Samples)/max(now.Sub(m.last).Seconds(), 1e-9), len(r.Bad))
	if r.Skipped {
		b = append(b, `,"skipped":true`...)
	}
	m.last = now
	m.append(append(b, "}\n"...))
}

// append adds whole lines.
func (m *Metrics) append(b []byte) {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.err == nil {
		_, m.err = m.f.Write(b)
	}
}

// Sync makes what was written survive a power cut, as a checkpoint of a later step will. It returns the first error of any write, and
// may be called while Write is.
func (m *Metrics) Sync() error {
	m.lock.Lock()
	err := m.err
	m.lock.Unlock()
	if err != nil {
		return err
	}
	return m.f.Sync()
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
	return m.err
}
