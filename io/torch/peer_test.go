package torch

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/peertest"
	"github.com/contraflow/contraflow/io/raw"
)

// python runs testdata/peer.py and decodes what it prints.
func python(t *testing.T, out any, args ...string) {
	t.Helper()
	text := peertest.Run(t, "torch", append([]string{filepath.Join("testdata", "peer.py")}, args...)...)
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatalf("peer.py %v printed %.200q: %v", args, text, err)
	}
}

// describe is peer.py's describe for a Value.
func describe(t *testing.T, v Value, path string, out map[string]string) {
	t.Helper()
	switch v := v.(type) {
	case *Dict:
		out[path] = map[Class]string{PlainDict: "dict", OrderedDict: "OrderedDict", Namespace: "Namespace"}[v.Class]
	case *List:
		out[path] = fmt.Sprintf("list %d", len(v.Items))
	case Tuple:
		out[path] = fmt.Sprintf("tuple %d", len(v))
	case *Tensor:
		r, err := v.Raw(path)
		if err != nil {
			t.Fatal(err)
		}
		shape := strings.ReplaceAll(fmt.Sprint(r.Shape), " ", ", ")
		out[path] = fmt.Sprintf("%v %s %x", r.DType, shape, sha256.Sum256(r.Data))
	case float64:
		out[path] = fmt.Sprintf("float %016x", math.Float64bits(v))
	case nil:
		out[path] = "NoneType None"
	case bool:
		out[path] = map[bool]string{true: "bool True", false: "bool False"}[v]
	case string:
		out[path] = "str " + v
	default:
		out[path] = fmt.Sprintf("int %v", v)
	}
	each(v, func(key string, c Value) { describe(t, c, path+"/"+key, out) })
}

// same compares two descriptions and reports the first difference.
func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for path := range want {
		if got[path] != want[path] {
			t.Errorf("%s: %q is %q, want %q", what, path, got[path], want[path])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
	}
}

func sampleCheckpoint(t *testing.T) *Checkpoint {
	t.Helper()
	tensor := func(r raw.Tensor) *Tensor {
		x, err := FromRaw(r)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	f32 := func(name string, shape []int, v ...float32) Named {
		return Named{name, tensor(raw.FromFloat32(name, shape, v))}
	}
	model := StateDict{
		f32("conv1.weight", []int{2, 1, 3, 3}, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18),
		f32("bn1.weight", []int{2}, 1, .5), f32("bn1.bias", []int{2}, 0, -1),
		f32("bn1.running_mean", []int{2}, 3, 4), f32("bn1.running_var", []int{2}, 1, 2),
		{"bn1.num_batches_tracked", tensor(raw.FromInt64("", nil, []int64{1 << 40}))},
		f32("fc.weight", []int{2, 3}, 1, 2, 3, 4, 5, 6), f32("fc.bias", []int{2}, 7, 8),
	}
	c := &Checkpoint{
		Options: NewDict(Namespace).Set("model", "tiny").Set("epochs", int64(240)).Set("learning_rate", 0.03).
			Set("lr_decay_epochs", &List{Items: []Value{int64(120), int64(160)}}).Set("amp", false).Set("gpu", nil).Set("seed", int64(-1)<<40),
		Model: model, Prefix: ReferencePrefix, Epoch: 20,
		Contrast:  StateDict{f32("params", []int{4}, 16, .07, -1, .5), f32("memory", []int{2, 3}, 1, 0, 0, 0, 1, 0)},
		Optimizer: &Optimizer{LR: 0.5, Momentum: 0.9},
		Extra: NewDict(PlainDict).Set("contraflow", `{"step":3}`).Set("edges", Tuple{
			int64(255), int64(256), int64(65535), int64(65536), int64(math.MaxInt32), int64(math.MinInt32), int64(math.MaxInt64), int64(math.MinInt64),
			new(big.Int).Lsh(big.NewInt(1), 63), new(big.Int).Lsh(big.NewInt(-1), 200), "é", Tuple{}, math.Inf(-1), math.Copysign(0, -1),
		}).Set("state", NewDict(OrderedDict)),
	}
	for _, p := range model.Parameters() {
		v := make([]float32, p.Len())
		for i := range v {
			v[i] = 1
		}
		c.Optimizer.Velocity = append(c.Optimizer.Velocity, tensor(raw.FromFloat32("", p.Shape, v)))
	}
	return c
}

func writeFile(t *testing.T, v Value, o WriteOptions) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.pth")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(f, v, o); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPyTorchLoads writes a checkpoint and lets PyTorch read it, trusting and with weights_only.
func TestPyTorchLoads(t *testing.T) {
	c := sampleCheckpoint(t)
	for mode, o := range map[string]WriteOptions{"plain": {}, "weights_only": {PlainNamespace: true}} {
		want, got := map[string]string{}, map[string]string{}
		describe(t, c.Value(), "", want)
		if o.PlainNamespace {
			want["/opt"] = "dict"
		}
		python(t, &got, "load", writeFile(t, c.Value(), o), mode)
		same(t, mode, got, want)
	}
}

// TestPyTorchRefusesNamespace documents why PlainNamespace exists: weights_only must not load the class.
func TestPyTorchRefusesNamespace(t *testing.T) {
	path := writeFile(t, sampleCheckpoint(t).Value(), WriteOptions{})
	var version string
	python(t, &version, "version")
	out, err := exec.Command(peertest.Python(), filepath.Join("testdata", "peer.py"), "load", path, "weights_only").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "argparse.Namespace") {
		t.Errorf("PyTorch %s: weights_only printed %.300q, %v; want a refusal that names argparse.Namespace", version, out, err)
	}
}

// TestPyTorchTrains loads strictly into modules and an optimizer, whose next step must use our momentum:
// p - lr·(momentum·v + 0) with lr 0.5, momentum 0.9, v 1 is p - 0.45.
func TestPyTorchTrains(t *testing.T) {
	c := sampleCheckpoint(t)
	got := map[string]string{}
	python(t, &got, "train", writeFile(t, c.Value(), WriteOptions{}))
	want := map[string]string{"": "OrderedDict"}
	for _, p := range c.Model {
		v := p.Tensor
		if !buffer(p.Name) {
			f, err := p.Float32()
			if err != nil {
				t.Fatal(err)
			}
			for i := range f {
				f[i] -= float32(0.5) * float32(0.9)
			}
			if v, err = FromRaw(raw.FromFloat32("", p.Shape, f)); err != nil {
				t.Fatal(err)
			}
		}
		describe(t, v, "/"+ReferencePrefix+p.Name, want)
	}
	same(t, "after one step", got, want)
}

// TestPyTorchSaves reads what PyTorch writes in every layout and protocol.
func TestPyTorchSaves(t *testing.T) {
	dir := t.TempDir()
	want := map[string]string{}
	python(t, &want, "save", dir)
	files, err := filepath.Glob(filepath.Join(dir, "*.pth"))
	if err != nil || len(files) != 4 {
		t.Fatalf("PyTorch wrote %v, %v", files, err)
	}
	for _, path := range files {
		f, err := Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		got := map[string]string{}
		describe(t, f.Root, "", got)
		same(t, path, got, want)
		c, err := f.Checkpoint()
		if err != nil || c.Epoch != 7 || c.Optimizer.LR != 0.03 || c.Model.Lookup("conv1.weight") == nil {
			t.Errorf("%s: checkpoint %+v, %v", path, c, err)
		}
		f.Close()
	}
}
