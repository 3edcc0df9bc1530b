package flows

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/contraflow/contraflow/io/npz"
	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/stages"
)

// maxDumps is how many batches one run keeps: the first ones tell what began it.
const maxDumps = 3

// trouble is told of a step with numbers that are not finite: it keeps the batch and, unless such steps are skipped, ends the
// run.
func (r *Run) trouble(t *stages.Trouble) error {
	where, err := r.dump(t)
	if err != nil {
		where = fmt.Sprintf("its batch could not be kept: %v", err)
	} else if where != "" {
		where = "its batch is in " + where
	}
	if r.o.Run.OnNaN != "skip" {
		return fmt.Errorf("%w: %s: lower --learning_rate, raise --nce_t, or leave such steps out with --on_nan skip", t, where)
	}
	if r.OnSkip != nil {
		r.OnSkip(t.Step, fmt.Sprintf("%v: left out; %s", t, where))
	}
	return nil
}

// dump writes nan-step-N: batch.npz with views, indices, labels, outputs and gradients, and batch.json with what they are. It
// returns "" when enough are kept already.
func (r *Run) dump(t *stages.Trouble) (string, error) {
	n := r.dumps.Add(1)
	if n > maxDumps {
		return "", nil
	}
	dir := filepath.Join(r.Dir, fmt.Sprintf("nan-step-%09d", t.Step))
	tmp := filepath.Join(r.Dir, fmt.Sprintf(".tmp-nan-step-%09d", t.Step))
	if err := errors.Join(os.RemoveAll(tmp), os.MkdirAll(tmp, 0o755)); err != nil {
		return "", err
	}
	tensors, about := r.describe(t)
	err := ReplaceFile(filepath.Join(tmp, "batch.json"), func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(about)
	})
	if err == nil {
		err = ReplaceFile(filepath.Join(tmp, "batch.npz"), func(w io.Writer) error { return npz.Write(w, tensors) })
	}
	if err == nil {
		err = errors.Join(os.RemoveAll(dir), os.Rename(tmp, dir))
	}
	if err != nil {
		os.RemoveAll(tmp)
		return "", err
	}
	return dir, nil
}

// troubleArray is one array of batch.npz.
type troubleArray struct {
	Name      string `json:"name"`
	Shape     []int  `json:"shape"`
	NonFinite int    `json:"non_finite"`
	Samples   []int  `json:"samples,omitempty"` // positions in the batch of the samples that have such values
}

// troubleFile is batch.json.
type troubleFile struct {
	Step   int             `json:"step"`
	Epoch  int             `json:"epoch"`
	Stage  string          `json:"stage"`
	What   string          `json:"what"`
	Loss   string          `json:"loss"` // JSON has no NaN
	LR     json.RawMessage `json:"learning_rate"`
	Arrays []troubleArray  `json:"arrays"`
	Images []string        `json:"images"`
}

func (r *Run) describe(t *stages.Trouble) ([]raw.Tensor, troubleFile) {
	n := len(t.Index)
	about := troubleFile{Step: t.Step, Epoch: t.Epoch, Stage: t.Stage, What: t.What, Loss: fmt.Sprint(t.Loss), LR: json.RawMessage(number(r.o.Optim.Rate(t.Epoch)))}
	var tensors []raw.Tensor
	add := func(name string, shape []int, x []float32) {
		count, _ := raw.Count(shape, 4)
		x = x[:min(count, len(x))] // the slots of donors lie behind those of the batch
		a := troubleArray{Name: name, Shape: shape}
		size := max(len(x)/max(n, 1), 1)
		for i, v := range x {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				a.NonFinite++
				if s := i / size; len(a.Samples) == 0 || a.Samples[len(a.Samples)-1] != s {
					a.Samples = append(a.Samples, s)
				}
			}
		}
		about.Arrays = append(about.Arrays, a)
		tensors = append(tensors, raw.FromFloat32(name, shape, x))
	}
	integers := func(name string, values []int) {
		v := make([]int64, len(values))
		for i := range values {
			v[i] = int64(values[i])
		}
		tensors = append(tensors, raw.FromInt64(name, []int{len(v)}, v))
	}
	integers("index", t.Index)
	integers("label", t.Labels)
	for _, i := range t.Index {
		about.Images = append(about.Images, r.data.Name(i))
	}
	for i, x := range r.views.stage(nil).Rendered(t.Batch) { // of a batch that the device renders too
		if i < len(t.Shapes) {
			add(fmt.Sprintf("view_%d", i), []int{n, t.Shapes[i][0], t.Shapes[i][1], t.Shapes[i][2]}, x)
		}
	}
	names := r.passNames()
	for i, x := range t.Out {
		add("output_"+names[i], []int{n, len(x) / max(n, 1)}, x)
	}
	for i, x := range t.D {
		if x != nil {
			add("gradient_"+names[i], []int{n, len(x) / max(n, 1)}, x)
		}
	}
	return tensors, about
}

// passNames are the names of the passes: those of their towers, numbered from the second of a tower on.
func (r *Run) passNames() []string {
	var out []string
	seen := map[int]int{}
	for _, p := range r.passes {
		name := r.towers[p.Tower].Name
		if seen[p.Tower]++; seen[p.Tower] > 1 {
			name = fmt.Sprintf("%s_%d", name, seen[p.Tower])
		}
		out = append(out, name)
	}
	return out
}

// measured names the passes whose embeddings are watched for collapse: the first of every trained tower.
func (r *Run) measured() []string {
	out := make([]string, len(r.passes))
	seen := map[int]bool{}
	for i, p := range r.passes {
		if r.towers[p.Tower].Follows < 0 && !seen[p.Tower] {
			out[i], seen[p.Tower] = r.towers[p.Tower].Name, true
		}
	}
	return out
}
