package flows

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// runRecord is what a run folder tells about its run.
type runRecord struct {
	dir, name string
	manifest  Manifest
	steps     []metricLine   // one a step
	epochs    []metricLine   // a probe's epochs
	columns   []string       // names of values of steps, in their order
	index     map[string]int // where the value of a name is in a line
	knn       []KNNScore
	sims      []Similarities
	stages    *stageTable
	probe     *probeRecord
	baselines map[string]float64
}

// metricLine is one line of metrics.jsonl. A run of ImageNet has millions, which as maps took gigabytes.
type metricLine struct {
	Step, Epoch int
	values      []float64 // finite ones, by the record's index; others are NaN
}

// value is a value of a line; false when it has none of that name.
func (r *runRecord) value(m metricLine, name string) (float64, bool) {
	i, ok := r.index[name]
	if !ok || i >= len(m.values) || math.IsNaN(m.values[i]) {
		return 0, false
	}
	return m.values[i], true
}

// baselinesFile names accuracies to compare a run with.
const baselinesFile = "baselines.json"

// readRun reads a run folder. What an older run did not write is left empty; without metrics it is no run folder.
func readRun(dir string) (*runRecord, error) {
	r := &runRecord{dir: dir, name: filepath.Base(filepath.Clean(dir))}
	if abs, err := filepath.Abs(dir); err == nil {
		r.name = filepath.Base(abs)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no metrics.jsonl: want the folder of a run, which contraflow train prints as run=", dir)
	}
	if err != nil {
		return nil, err
	}
	if err := r.readMetrics(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "metrics.jsonl"), err)
	}
	for name, v := range map[string]any{"run.json": &r.manifest, stagesFile: &r.stages, resultFile: &r.probe, baselinesFile: &r.baselines} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = json.Unmarshal(text, v)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
	}
	return r, errors.Join(readLines(filepath.Join(dir, knnFile), &r.knn), readLines(filepath.Join(dir, similaritiesFile), &r.sims))
}

// readMetrics reads the lines in order; the last may be cut off.
func (r *runRecord) readMetrics(raw []byte) error {
	r.index = map[string]int{}
	seen := map[string]bool{}
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(raw, []byte("\n"))
		if !whole {
			return nil
		}
		m, names, err := r.parseMetric(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if _, val := r.value(m, "test_acc"); val {
			r.epochs = append(r.epochs, m)
		} else {
			r.steps = append(r.steps, m)
			for _, name := range names {
				if !seen[name] {
					seen[name] = true
					r.columns = append(r.columns, name)
				}
			}
		}
		raw = rest
	}
}

// parseMetric reads one flat object and the order of its names.
func (r *runRecord) parseMetric(line []byte) (m metricLine, names []string, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return m, nil, errors.New("it is no JSON object")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return m, nil, err
		}
		value, err := d.Token()
		if err != nil {
			return m, nil, err
		}
		name, _ := key.(string)
		v, number := value.(float64)
		switch {
		case name == "step":
			m.Step = int(v)
		case name == "epoch":
			m.Epoch = int(v)
		case number:
			i, ok := r.index[name]
			if !ok {
				i = len(r.index)
				r.index[name] = i
			}
			if m.values == nil {
				m.values = make([]float64, 0, len(r.index))
			}
			for len(m.values) <= i {
				m.values = append(m.values, math.NaN())
			}
			m.values[i] = v
			names = append(names, name)
		}
	}
	return m, names, nil
}

// setting is a flag of the run, or "".
func (r *runRecord) setting(name string) string { return r.manifest.Settings[name].Value }

// whole is a flag that is a whole number, or 0.
func (r *runRecord) whole(name string) int {
	v, _ := strconv.Atoi(r.setting(name))
	return v
}

// command is the command line that the run was started with; resume adds that of going on.
func (r *runRecord) command(resume bool) string {
	if len(r.manifest.Command) == 0 {
		return ""
	}
	parts := []string{"contraflow"}
	skip := false
	for _, a := range r.manifest.Command[1:] {
		if skip {
			skip = false
			continue
		}
		if flag := strings.ReplaceAll(a, "-", "_"); resume && (flag == "__resume" || strings.HasPrefix(flag, "__resume=")) {
			skip = flag == "__resume"
			continue
		}
		parts = append(parts, shellQuote(a))
	}
	if resume {
		parts = append(parts, "--resume", "auto")
	}
	return strings.Join(parts, " ")
}

// shellQuote quotes an argument when a shell would take it apart.
func shellQuote(a string) string {
	if a != "" && !strings.ContainsAny(a, " \t\n'\"$\\|&;<>()*?[]{}#~`!") {
		return a
	}
	return "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
}
