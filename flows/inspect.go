package flows

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/io/torch"
)

// Inspection is what can be said about a state without a network: its JSON form is for scripts.
type Inspection struct {
	Path    string                     `json:"path"`
	Step    int                        `json:"step"`
	Epoch   int                        `json:"epoch"`
	Values  int                        `json:"values"` // elements of all tensors
	Bytes   int64                      `json:"bytes"`
	Tensors []TensorSummary            `json:"tensors"`
	Meta    map[string]json.RawMessage `json:"meta,omitempty"`
}

// TensorSummary describes one tensor. Norm, Min and Max are over its finite values; a tensor of none has zeros.
type TensorSummary struct {
	Name      string  `json:"name"`
	DType     string  `json:"dtype"`
	Shape     []int   `json:"shape"`
	Norm      float64 `json:"norm"` // L2, summed in float64
	Min       float64 `json:"min"`
	Max       float64 `json:"max"`
	NonFinite int     `json:"non_finite"` // NaNs and infinities
}

// Inspect reads whatever ReadState reads, and any other .pth, whose tensors it lists under their paths.
func Inspect(path string) (*Inspection, error) {
	s, err := ReadState(path)
	if err != nil {
		if s = readAnyPth(path); s == nil {
			return nil, err
		}
	}
	return InspectState(path, s), nil
}

// readAnyPth lists the tensors of a .pth that is no checkpoint of the reference, or returns nil.
func readAnyPth(path string) *checkpoint.State {
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return nil
	}
	f, err := torch.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if _, err := f.Checkpoint(); err == nil {
		return nil // it is one, and what failed is something else
	}
	s := &checkpoint.State{}
	for _, t := range f.Tensors() {
		r, err := t.Raw(t.Name)
		if err != nil {
			return nil
		}
		s.Tensors = append(s.Tensors, r)
	}
	return s
}

// InspectState describes s; path is only carried along.
func InspectState(path string, s *checkpoint.State) *Inspection {
	in := &Inspection{Path: path, Step: s.Step, Epoch: s.Epoch, Meta: s.Meta, Tensors: []TensorSummary{}}
	for i := range s.Tensors {
		t := &s.Tensors[i]
		in.Tensors = append(in.Tensors, summarise(t))
		in.Values += t.Len()
		in.Bytes += int64(len(t.Data))
	}
	return in
}

func summarise(t *raw.Tensor) TensorSummary {
	out := TensorSummary{Name: t.Name, DType: t.DType.String(), Shape: t.Shape, Min: math.Inf(1), Max: math.Inf(-1)}
	if out.Shape == nil {
		out.Shape = []int{}
	}
	var sum float64
	finite := 0
	for i := range t.Len() {
		v := t.At(i)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			out.NonFinite++
			continue
		}
		finite++
		sum += v * v
		out.Min, out.Max = math.Min(out.Min, v), math.Max(out.Max, v)
	}
	if finite == 0 {
		out.Min, out.Max = 0, 0
	}
	if out.Norm = math.Sqrt(sum); math.IsInf(sum, 1) { // values beyond 1e154
		out.Norm = math.MaxFloat64
	}
	return out
}

// WriteText writes a table for people: the cursor, the options, and a line for every tensor.
func (in *Inspection) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "%s\nepoch %d, step %d, %s, %s, %.1f MB\n", in.Path, in.Epoch, in.Step, counted(len(in.Tensors), "tensor"), counted(in.Values, "value"), float64(in.Bytes)/1e6)
	keys := make([]string, 0, len(in.Meta))
	for k := range in.Meta {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(w, "%s: %s\n", k, compact(in.Meta[k]))
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "tensor\ttype\tshape\tnorm\tmin\tmax\t")
	for _, t := range in.Tensors {
		note := ""
		if t.NonFinite > 0 {
			note = fmt.Sprintf("%d NaN or infinite", t.NonFinite)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%.6g\t%.6g\t%.6g\t%s\n", t.Name, t.DType, shapeText(t.Shape), t.Norm, t.Min, t.Max, note)
	}
	return tw.Flush()
}

func shapeText(shape []int) string {
	return strings.ReplaceAll(fmt.Sprint(shape), " ", ",")
}
