package flows

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/io/torch"
)

// pthGolden is a checkpoint that PyTorch wrote.
func pthGolden(name string) string {
	return filepath.Join("..", "testdata", "golden", "pth", name)
}

func mustRead(t *testing.T, path string) *checkpoint.State {
	t.Helper()
	s, err := ReadState(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mocoState is what a MoCo run of ours saves: every tensor float32.
func mocoState(t testing.TB) *checkpoint.State {
	t.Helper()
	o := Defaults("moco")
	o.Optim.DecayEpochs = []int{2, 4}
	options, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	s := &checkpoint.State{Step: 77, Epoch: 3, Meta: map[string]json.RawMessage{"options": options}}
	add := func(name string, shape []int, v ...float32) {
		s.Tensors = append(s.Tensors, raw.FromFloat32(name, shape, v))
	}
	for _, prefix := range []string{"", "ema/"} {
		add(prefix+"encoder.module.conv1.weight", []int{1, 1, 1, 2}, 1, 2)
		if prefix == "" {
			add("velocity/encoder.module.conv1.weight", []int{1, 1, 1, 2}, .1, .2)
		}
		add(prefix+"encoder.module.bn1.weight", []int{1}, 3)
		add(prefix+"encoder.module.bn1.bias", []int{1}, 4)
		add(prefix+"encoder.module.bn1.running_mean", []int{1}, 5)
		add(prefix+"encoder.module.bn1.running_var", []int{1}, 6)
		add(prefix+"encoder.module.bn1.num_batches_tracked", nil, 77)
	}
	add("contrast/params", []int{1}, -1)
	add("contrast/memory", []int{2, 2}, 1, 0, 0, 1)
	add("contrast/queue_ptr", []int{1}, 1)
	return s
}

// TestConvertRoundTrips takes every checkpoint of the reference through every format and back to .pth: no bit and
// no option may change on the way.
func TestConvertRoundTrips(t *testing.T) {
	for _, name := range []string{
		"cmc_tiny_legacy.pth", "cmc_tiny_outermodule_zip.pth", "cmc_tiny_lrdecayed_zip.pth", "cmc_tiny_2019style_legacy.pth",
		"alexnet_tiny_zip.pth", "moco_tiny_legacy.pth", "insdis_tiny_zip.pth", "linear_probe_legacy.pth",
	} {
		dir := t.TempDir()
		want := mustRead(t, pthGolden(name))
		at := pthGolden(name)
		for _, next := range []string{"run", "a.safetensors", "b.npz", "c.pth", "d.npz", "e.safetensors", "f.pth"} {
			to := filepath.Join(dir, next)
			if err := Convert(at, to, next == "f.pth"); err != nil {
				t.Fatalf("%s to %s: %v", at, to, err)
			}
			got := mustRead(t, to)
			if d := append(Diff(want, got), DiffOptions(want, got)...); len(d) > 0 {
				t.Fatalf("%s after %s: %d differences, the first: %s", name, next, len(d), d[0])
			}
			at = to
		}
		if left, err := filepath.Glob(filepath.Join(dir, ".tmp*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		sameEntries(t, name, pthGolden(name), at)
	}
}

// sameEntries compares the dictionaries that the reference's scripts read: tensors by bytes, options by value.
func sameEntries(t *testing.T, name, a, b string) {
	t.Helper()
	open := func(path string) (*torch.File, *torch.Checkpoint) {
		f, err := torch.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		c, err := f.Checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		return f, c
	}
	f, x := open(a)
	g, y := open(b)
	bytesOf := func(f *torch.File) map[string]string {
		out := map[string]string{}
		for _, v := range f.Tensors() {
			r, err := v.Raw("")
			if err != nil {
				t.Fatal(err)
			}
			path := v.Name
			if rest, ok := strings.CutPrefix(path, "model/"); ok { // wrappers are written as the reference has them
				path = "model/" + strings.TrimPrefix(rest, "module.")
			}
			if !strings.HasPrefix(path, "contraflow/") && !strings.HasPrefix(path, "optimizer/") {
				out[path] = fmt.Sprint(r.DType, r.Shape, r.Data)
			}
		}
		return out
	}
	if p, q := bytesOf(f), bytesOf(g); !reflect.DeepEqual(p, q) {
		t.Errorf("%s: %d tensors became %d, or their bytes changed", name, len(p), len(q))
	}
	if p, q := string(appendJSON(nil, x.Options)), string(appendJSON(nil, y.Options)); p != q || y.Options.Class != torch.Namespace {
		t.Errorf("%s: options\n%s\nbecame\n%s", name, p, q)
	}
	if x.Epoch != y.Epoch || x.Optimizer.LR != y.Optimizer.LR || len(x.Optimizer.Velocity) != len(y.Optimizer.Velocity) {
		t.Errorf("%s: epoch %d, lr %v became %d, %v", name, x.Epoch, x.Optimizer.LR, y.Epoch, y.Optimizer.LR)
	}
}

// TestRunToPth: a run of ours becomes what train_moco_ins.py saves, and comes back with its cursor and queue position.
func TestRunToPth(t *testing.T) {
	dir := t.TempDir()
	s := mocoState(t)
	path := filepath.Join(dir, "ckpt_epoch_3.pth")
	if err := WriteState(path, s, false); err != nil {
		t.Fatal(err)
	}
	f, err := torch.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got []string
	for _, x := range f.Tensors() {
		got = append(got, fmt.Sprintf("%s %v %v", x.Name, x.DType, x.Shape))
	}
	model := func(group string) []string {
		p := group + "/encoder.module."
		return []string{p + "conv1.weight float32 [1 1 1 2]", p + "bn1.weight float32 [1]", p + "bn1.bias float32 [1]",
			p + "bn1.running_mean float32 [1]", p + "bn1.running_var float32 [1]", p + "bn1.num_batches_tracked int64 []"}
	}
	want := append(model("model"), "contrast/params int64 [1]", "contrast/memory float32 [2 2]", "optimizer/state/0/momentum_buffer float32 [1 1 1 2]")
	want = append(append(want, model("model_ema")...), "contraflow/tensors/contrast/queue_ptr float32 [1]")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("tensors are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	c, err := f.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	if c.Optimizer.LR != 0.03*0.1 || len(c.Optimizer.Velocity) != 3 || c.Optimizer.Velocity[1] != nil {
		t.Errorf("optimizer %+v, want the rate of epoch 3 and three parameters", c.Optimizer)
	}
	for key, want := range map[string]torch.Value{"method": "nce", "nce_k": int64(16384), "learning_rate": 0.03, "model": "resnet50"} {
		if v, _ := c.Options.Get(key); v != want {
			t.Errorf("opt.%s = %v, want %v", key, v, want)
		}
	}
	if v, _ := c.Options.Get("lr_decay_epochs"); !reflect.DeepEqual(v, &torch.List{Items: []torch.Value{int64(2), int64(4)}}) {
		t.Errorf("opt.lr_decay_epochs = %v", v)
	}
	back := mustRead(t, path)
	if back.Step != 77 || back.Epoch != 3 {
		t.Errorf("cursor %d, %d", back.Step, back.Epoch)
	}
	for _, x := range s.Tensors {
		y := back.Tensor(x.Name)
		if y == nil || !reflect.DeepEqual(x.Float32s(), y.Float32s()) {
			t.Errorf("%s came back as %v", x.Name, y)
		}
	}
	if o, err := optionsOf(back); err != nil || o.Optim.DecayEpochs[1] != 4 {
		t.Errorf("options %v, %v", o.Optim, err)
	}
}

// TestOptionsFromPth: what the reference was told reaches our options, and its folders do not.
func TestOptionsFromPth(t *testing.T) {
	o, err := optionsOf(mustRead(t, pthGolden("cmc_tiny_legacy.pth")))
	if err != nil {
		t.Fatal(err)
	}
	if o.Method != "cmc" || o.Net.Model != "resnet18v1" || o.Loss.K != 20 || o.Data.CropLow != 0.08 || o.Data.Workers != 18 || o.Run.Resume != "" ||
		!reflect.DeepEqual([]int(o.Optim.DecayEpochs), []int{120, 160, 200}) || o.Run.ModelPath != Defaults("cmc").Run.ModelPath {
		t.Errorf("options %+v", o)
	}
	if s := mustRead(t, pthGolden("moco_tiny_zip.pth")); s.Tensor("contrast/queue_ptr") == nil || s.Epoch != 20 || s.Step != 0 {
		t.Errorf("moco: epoch %d step %d, queue_ptr %v", s.Epoch, s.Step, s.Tensor("contrast/queue_ptr"))
	}
}

func TestHalfBecomesFloat(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := Convert(pthGolden("cmc_tiny_half_legacy.pth"), dir, false); err != nil {
		t.Fatal(err)
	}
	half, full := mustRead(t, pthGolden("cmc_tiny_half_legacy.pth")), mustRead(t, dir)
	name := "encoder.module.l_to_ab.conv1.weight"
	if x, y := half.Tensor(name), full.Tensor(name); x.DType != raw.Float16 || y.DType != raw.Float32 || !reflect.DeepEqual(x.Float32s(), y.Float32s()) {
		t.Errorf("%v became %v, or values changed", x.DType, y.DType)
	}
}

func TestConvertRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.dat")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	taken := t.TempDir()
	if err := os.WriteFile(filepath.Join(taken, "metrics.jsonl"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	bare := &checkpoint.State{Tensors: []raw.Tensor{raw.FromFloat32("a", []int{1}, []float32{1})}}
	stray := mocoState(t)
	stray.Tensors = append(stray.Tensors, raw.FromFloat32("velocity/encoder.module.gone", []int{1}, []float32{1}))
	inUse := filepath.Join(dir, "run")
	lock, err := checkpoint.Acquire(inUse)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"in use":       {WriteState(inUse, mocoState(t), false), "run folder is in use by process"},
		"absent":       {Convert(filepath.Join(dir, "absent.pth"), file, false), "absent.pth"},
		"no ending":    {Convert(file, filepath.Join(dir, "y.pth"), false), "says nothing about its format"},
		"bad ending":   {WriteState(filepath.Join(dir, "y.txt"), mocoState(t), false), "no format to write"},
		"empty folder": {Convert(t.TempDir(), filepath.Join(dir, "y.pth"), false), "neither a run folder"},
		"evil":         {Convert(pthGolden("evil_system_zip.pth"), filepath.Join(dir, "y.npz"), false), "posix.system"},
		"taken":        {WriteState(taken, mocoState(t), false), taken + " is not empty (metrics.jsonl and 0 more): give an empty or new folder"},
		"not ours":     {WriteState(filepath.Join(dir, "y.pth"), bare, false), "not the state of an encoder"},
		"stray":        {WriteState(filepath.Join(dir, "y.pth"), stray, false), "belongs to no parameter"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) || strings.Contains(c.err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", name, c.err, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "y.pth")); err == nil {
		t.Error("a failed conversion left a file")
	}
	if _, err := checkpoint.Latest(checkpoint.Disk{}, inUse); !errors.Is(err, checkpoint.ErrNone) {
		t.Errorf("a checkpoint was written beside a run: %v", err)
	}
}

func TestInspect(t *testing.T) {
	in, err := Inspect(pthGolden("moco_tiny_zip.pth"))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := in.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"epoch 20, step 0", "contrast/memory", "ema/encoder.module.conv1.weight", `"nce_k":`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("text lacks %q:\n%.600s", want, &text)
		}
	}
	s := &checkpoint.State{Tensors: []raw.Tensor{
		raw.FromFloat32("a", []int{4}, []float32{3, float32(math.NaN()), -4, float32(math.Inf(1))}),
		raw.FromFloat32("nan", []int{1}, []float32{float32(math.NaN())}),
		{Name: "huge", DType: raw.Float64, Shape: []int{1}, Data: []byte{0, 0, 0, 0, 0, 0, 0xe0, 0x7f}},
	}}
	text.Reset()
	if err := json.NewEncoder(&text).Encode(InspectState("p", s)); err != nil {
		t.Fatal(err)
	}
	var got Inspection
	if err := json.Unmarshal(text.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := TensorSummary{Name: "a", DType: "float32", Shape: []int{4}, Norm: 5, Min: -4, Max: 3, NonFinite: 2}
	if !reflect.DeepEqual(got.Tensors[0], want) || got.Values != 6 || got.Bytes != 28 {
		t.Errorf("%+v, want %+v", got, want)
	}
	if odd, err := Inspect(pthGolden("odd_tensors_legacy.pth")); err != nil || len(odd.Tensors) != 20 {
		t.Errorf("odd tensors: %v", err)
	}
	if _, err := Inspect(pthGolden("evil_popen_zip.pth")); err == nil || !strings.Contains(err.Error(), "Popen") {
		t.Errorf("evil: %v", err)
	}
}

func TestDiff(t *testing.T) {
	a := mocoState(t)
	if d := append(Diff(a, mocoState(t)), DiffOptions(a, mocoState(t))...); len(d) > 0 {
		t.Errorf("a state differs from itself: %v", d)
	}
	for want, change := range map[string]func(s *checkpoint.State){
		"cursor: epoch 3 step 77, and epoch 3 step 78": func(s *checkpoint.State) { s.Step++ },
		"contrast/queue_ptr: 1 of 1 values differ, by up to 1; the first at [0]: 1 and 2": func(s *checkpoint.State) {
			s.Tensors[len(s.Tensors)-1] = raw.FromFloat32("contrast/queue_ptr", []int{1}, []float32{2})
		},
		"contrast/memory: 2 of 4 values differ, by up to 3; the first at [0,1]: 0 and -0": func(s *checkpoint.State) {
			s.Tensors[len(s.Tensors)-2] = raw.FromFloat32("contrast/memory", []int{2, 2}, []float32{1, float32(math.Copysign(0, -1)), 0, 4})
		},
		"contrast/memory: float32 [2,2], and float32 [4]": func(s *checkpoint.State) { s.Tensors[len(s.Tensors)-2].Shape = []int{4} },
		"contrast/queue_ptr: only in the first":           func(s *checkpoint.State) { s.Tensors = s.Tensors[:len(s.Tensors)-1] },
		"extra: only in the second": func(s *checkpoint.State) {
			s.Tensors = append(s.Tensors, raw.FromFloat32("extra", nil, []float32{1}))
		},
	} {
		b := mocoState(t)
		change(b)
		if d := Diff(a, b); len(d) != 1 || d[0] != want {
			t.Errorf("got %q, want %q", d, want)
		}
	}
	b := mocoState(t)
	b.Meta["options"] = bytes.Replace(b.Meta["options"], []byte(`"resnet50"`), []byte(`"resnet18"`), 1)
	if d := DiffOptions(a, b); len(d) != 1 || d[0] != `options.Net.Model: "resnet50", and "resnet18"` {
		t.Errorf("options: %q", d)
	}
}

func TestReplaceFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := ReplaceFile(path, func(w io.Writer) error {
		w.Write([]byte("new"))
		return io.ErrShortWrite
	})
	text, _ := os.ReadFile(path)
	if left, _ := os.ReadDir(filepath.Dir(path)); err == nil || string(text) != "old" || len(left) != 1 {
		t.Errorf("after a failed write: %v, %q, %d files", err, text, len(left))
	}
}

// A link goes on leading to its file, and a pipe is written to: neither is replaced by a file.
func TestReplaceFileThrough(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, []byte("old"), 0o644), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	pipe := fmt.Sprintf("/dev/fd/%d", w.Fd())
	if _, err := os.Stat(pipe); err != nil {
		t.Skip(err)
	}
	for _, path := range []string{link, pipe} {
		if err := ReplaceFile(path, func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	w.Close()
	text, err := os.ReadFile(file)
	if to, _ := os.Readlink(link); err != nil || string(text) != "new" || to != file {
		t.Errorf("the link leads to %q, its file holds %q: %v", to, text, err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != "new" {
		t.Errorf("through the pipe came %q: %v", text, err)
	}
}

// TestOptionsThroughPth: the options of every method survive being written as an argparse.Namespace.
func TestOptionsThroughPth(t *testing.T) {
	for _, method := range []string{"cmc", "moco", "insdis"} {
		want := Defaults(method)
		want.Optim.LR, want.Loss.Softmax, want.Net.FeatDim, want.Optim.DecayEpochs = 0.1+0.2, true, 64, []int{7}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		opt, err := optionsTo(&checkpoint.State{Meta: map[string]json.RawMessage{"options": text}})
		if err != nil {
			t.Fatal(err)
		}
		if got := optionsFrom(method, opt); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: options\n%+v\nbecame\n%+v", method, want, got)
		}
	}
}

// A checkpoint that lost a file, or all of them, is a damaged one, and the one before it is offered.
func TestDamagedCheckpoint(t *testing.T) {
	dir := t.TempDir()
	s := mocoState(t)
	for _, s.Step = range []int{1, 2} {
		if _, err := checkpoint.Save(checkpoint.Disk{}, dir, s, checkpoint.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	last := filepath.Join(dir, "step-000000002")
	for _, name := range []string{checkpoint.StateFile, checkpoint.TensorFile} {
		if err := os.Remove(filepath.Join(last, name)); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{dir, last} {
			if _, err := ReadState(path); err == nil || !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), "resume from "+filepath.Join(dir, "step-000000001")) {
				t.Errorf("%s without %s: %v", path, name, err)
			}
		}
	}
}
