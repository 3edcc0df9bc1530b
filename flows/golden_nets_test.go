package flows_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/opstest/golden"
)

// entry is one tensor of a network in nets.json.
type entry struct {
	T     int    `json:"t"`
	Name  string `json:"name"`
	Shape []int  `json:"shape"`
}

func nets(t testing.TB) map[string]struct {
	Entries []entry `json:"state_dict"`
} {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(golden.Dir(), "nets.json"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]struct {
		Entries []entry `json:"state_dict"`
	}{}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

var blockName = regexp.MustCompile(`\.layer(\d)\.(\d+)\.`)

// infer reads the kind, depth and width of a network off its state dict.
func infer(t testing.TB, entries []entry) encoders.Net {
	t.Helper()
	var r encoders.ResNet
	for _, e := range entries {
		if strings.Contains(e.Name, "conv_block_1") {
			for _, e := range entries {
				if strings.HasSuffix(e.Name, "fc8.0.weight") {
					return encoders.AlexNet{Out: e.Shape[0]}
				}
			}
		}
		if m := blockName.FindStringSubmatch(e.Name); m != nil {
			stage, _ := strconv.Atoi(m[1])
			block, _ := strconv.Atoi(m[2])
			r.Blocks[stage-1] = max(r.Blocks[stage-1], block+1)
		}
		switch {
		case strings.HasSuffix(e.Name, "layer1.0.conv1.weight"):
			r.Width = float64(e.Shape[0]) / 64
		case strings.HasSuffix(e.Name, "conv3.weight"):
			r.Bottleneck = true
		case strings.HasSuffix(e.Name, ".fc.weight"):
			r.Out = e.Shape[0]
		}
	}
	if r.Out == 0 {
		t.Fatal("nets.json: a network that is neither AlexNet nor ResNet")
	}
	return r
}

// golden network: towers filled by the files' rule, with their prefixes.
type filled struct {
	d        ops.Device
	graphs   []*ops.Graph
	params   []ops.Params
	prefixes []string
	net      encoders.Net
}

func fillNet(t testing.TB, name, method string, seed uint64, size int) *filled {
	t.Helper()
	return fillNetOn(t, device(t), name, method, seed, size)
}

func fillNetOn(t testing.TB, d ops.Device, name, method string, seed uint64, size int) *filled {
	t.Helper()
	n, ok := nets(t)[name]
	if !ok {
		t.Fatalf("nets.json has no network %q", name)
	}
	f := &filled{d: d, net: infer(t, n.Entries), prefixes: []string{"encoder.module."}}
	channels := []int{3}
	if method == "cmc" {
		channels, f.prefixes = []int{1, 2}, []string{"encoder.module.l_to_ab.", "encoder.module.ab_to_l."}
	}
	for _, c := range channels {
		g := f.net.Tower(c, size)
		if err := g.Err(); err != nil {
			t.Fatal(err)
		}
		p, err := d.NewParams(g)
		if err != nil {
			t.Fatal(err)
		}
		f.graphs, f.params = append(f.graphs, g), append(f.params, p)
	}
	f.fill(t, n.Entries, seed)
	return f
}

func (f *filled) fill(t testing.TB, entries []entry, seed uint64) {
	t.Helper()
	for _, e := range entries {
		for v, prefix := range f.prefixes {
			name, ok := strings.CutPrefix(e.Name, prefix)
			if !ok {
				continue
			}
			n := 1
			for _, d := range e.Shape {
				n *= d
			}
			val := make([]float32, n)
			golden.Param(val, seed, uint64(e.T), e.Name, e.Shape)
			if err := f.params[v].Write(name, val); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// tensor reads a named tensor, or its gradient.
func (f *filled) tensor(t testing.TB, full string, grad bool) []float32 {
	t.Helper()
	for v, prefix := range f.prefixes {
		name, ok := strings.CutPrefix(full, prefix)
		if !ok {
			continue
		}
		for _, s := range f.params[v].Specs() {
			if s.Name != name {
				continue
			}
			out := make([]float32, s.Len())
			read := f.params[v].Read
			if grad {
				read = f.params[v].ReadGrad
			}
			if err := read(name, out); err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	t.Fatalf("the network has no tensor %s", full)
	return nil
}

// groupTolerance are the suggested tolerances of a group of tensors.
type groupTolerance struct {
	RelL2 float64 `json:"suggest_rel_l2"`
	Norm  float64 `json:"suggest_norm_rel"`
	Sum   float64 `json:"suggest_sum_over_l1"`
	Zero  []struct {
		Name string `json:"name"`
	} `json:"zero_tensors"`
}

// compareGroup checks every tensor of a group: strided samples by relative L2, sums and norms by the statistics.
func compareGroup(t testing.TB, f *golden.File, kase, group string, get func(name string) []float32) {
	t.Helper()
	mark(f, group)
	names := f.Meta.Names[group]
	if len(names) == 0 {
		t.Fatalf("%s lists no tensors of group %s", f.Name, group)
	}
	var tol groupTolerance
	if err := json.Unmarshal(f.Meta.Tolerances[group], &tol); err != nil {
		t.Fatal(err)
	}
	zero := map[string]bool{}
	for _, z := range tol.Zero {
		zero[z.Name] = true
	}
	stats, sample, off := f.Truth(group+".stats"), f.Truth(group+".sample"), f.Arrays[group+".sample_off"]
	for r, name := range names {
		v := get(name)
		slots := int(off.I[r+1] - off.I[r])
		want := sample.F[off.I[r]:off.I[r+1]]
		var diff, norm float64
		for j := range want {
			i := j
			if len(v) > slots {
				i = j * len(v) / slots
			}
			d := float64(v[i]) - float64(want[j])
			diff += d * d
			norm += float64(want[j]) * float64(want[j])
		}
		if zero[name] {
			var most float64
			for _, x := range v {
				most = max(most, math.Abs(float64(x)))
			}
			note(t, kase, group+" "+name+" (zero)", most, 1e-4)
			continue
		}
		if norm > 0 {
			note(t, kase, group+" "+name, math.Sqrt(diff/norm), deviceTolerance(2*tol.RelL2))
		}
		var sum, l1, l2 float64
		for _, x := range v {
			sum += float64(x)
			l1 += math.Abs(float64(x))
			l2 += float64(x) * float64(x)
		}
		row := stats.F[4*r:]
		note(t, kase, group+" |"+name+"|", math.Abs(math.Sqrt(l2)-float64(row[2]))/max(float64(row[2]), 1e-30), deviceTolerance(2*tol.Norm))
		note(t, kase, group+" Σ"+name, math.Abs(sum-float64(row[0]))/max(float64(row[1]), 1e-30), deviceTolerance(2*tol.Sum))
	}
}

// compareGradient checks a whole gradient: within its stated tolerance, and by relative L2 as its group is.
func compareGradient(t testing.TB, f *golden.File, kase, array string, got []float32) {
	t.Helper()
	mark(f, array)
	var tol groupTolerance
	if err := json.Unmarshal(f.Meta.Tolerances["grads"], &tol); err != nil {
		t.Fatal(err)
	}
	want := f.Truth(array).F
	if len(want) != len(got) {
		t.Fatalf("%s: %s: %d values, want %d", f.Name, array, len(got), len(want))
	}
	var diff, norm float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		diff, norm = diff+d*d, norm+float64(w)*float64(w)
	}
	note(t, kase, array, math.Sqrt(diff/max(norm, 1e-30)), deviceTolerance(2*tol.RelL2))
	compare(t, f, kase, array, got)
}
