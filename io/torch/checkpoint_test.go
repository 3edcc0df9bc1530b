package torch

import (
	"bytes"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/raw"
)

func openGolden(t *testing.T, name string) (*File, *Checkpoint) {
	t.Helper()
	f, err := Open(filepath.Join(repositoryGolden, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	c, err := f.Checkpoint()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return f, c
}

func names(s StateDict) []string {
	out := make([]string, len(s))
	for i := range s {
		out[i] = s[i].Name
	}
	return out
}

// TestPrefixes: whatever wrapped the model when it was saved, the names and the bytes are the same.
func TestPrefixes(t *testing.T) {
	_, want := openGolden(t, "cmc_tiny_zip.pth")
	if want.Prefix != ReferencePrefix || want.Model[0].Name != "l_to_ab.conv1.weight" {
		t.Fatalf("prefix %q, first name %q", want.Prefix, want.Model[0].Name)
	}
	for name, prefix := range map[string]string{
		"cmc_tiny_nomodule_legacy.pth": "encoder.", "cmc_tiny_outermodule_zip.pth": "module.encoder.module.",
		"cmc_tiny_cuda_legacy.pth": ReferencePrefix, "cmc_tiny_2019style_legacy.pth": ReferencePrefix, "cmc_tiny_proto4_zip.pth": ReferencePrefix,
	} {
		_, got := openGolden(t, name)
		if got.Prefix != prefix || !reflect.DeepEqual(names(got.Model), names(want.Model)) {
			t.Errorf("%s: prefix %q, want %q; or the names differ", name, got.Prefix, prefix)
			continue
		}
		for i := range got.Model {
			a, err := got.Model[i].Raw("")
			b, err2 := want.Model[i].Raw("")
			if err != nil || err2 != nil || !bytes.Equal(a.Data, b.Data) {
				t.Errorf("%s: %q differs: %v %v", name, got.Model[i].Name, err, err2)
			}
		}
	}
}

// TestCheckpoints checks the dictionaries of every script.
func TestCheckpoints(t *testing.T) {
	for _, c := range []struct {
		file                string
		epoch, params       int
		contrast            string
		ema, hasClassifier  bool
		lr, momentum, decay float64
		extra               int
	}{
		{"cmc_tiny_legacy.pth", 10, 82, "params memory_l memory_ab", false, false, .03, .9, 1e-4, 0},
		{"cmc_tiny_2019style_legacy.pth", 10, 82, "params memory_l memory_ab", false, false, .03, .9, 1e-4, 1},
		{"cmc_tiny_lrdecayed_zip.pth", 161, 82, "params memory_l memory_ab", false, false, .0003, .9, 1e-4, 0},
		{"moco_tiny_legacy.pth", 20, 41, "params memory", true, false, .03, .9, 1e-4, 0},
		{"insdis_tiny_zip.pth", 20, 41, "params memory", false, false, .03, .9, 1e-4, 0},
		{"linear_probe_legacy.pth", 60, 2, "", false, true, 30, .9, 0, 0},
	} {
		_, got := openGolden(t, c.file)
		if got.Epoch != c.epoch {
			t.Errorf("%s: epoch %d, want %d", c.file, got.Epoch, c.epoch)
		}
		if n := len(got.Optimizer.Velocity); n != c.params || got.Optimizer.Velocity[0] == nil {
			t.Errorf("%s: %d velocities, want %d, the first set", c.file, n, c.params)
		}
		if s := strings.Join(names(got.Contrast), " "); s != c.contrast {
			t.Errorf("%s: contrast %q, want %q", c.file, s, c.contrast)
		}
		if (got.ModelEMA != nil) != c.ema || (got.Classifier != nil) != c.hasClassifier || (got.BestAcc1 != nil) != c.hasClassifier {
			t.Errorf("%s: ema %v, classifier %v", c.file, got.ModelEMA != nil, got.Classifier != nil)
		}
		o := got.Optimizer
		if d := o.LR - c.lr; d > 1e-12 || d < -1e-12 || o.Momentum != c.momentum || o.WeightDecay != c.decay {
			t.Errorf("%s: optimizer %+v", c.file, o)
		}
		extra := 0
		if got.Extra != nil {
			extra = got.Extra.Len()
		}
		if extra != c.extra {
			t.Errorf("%s: extra %v, want %d entries", c.file, got.Extra, c.extra)
		}
		if got.Options == nil || got.Options.Class != Namespace {
			t.Errorf("%s: options %v", c.file, got.Options)
		}
	}
	_, bare := openGolden(t, "alexnet_tiny_statedict_zip.pth")
	if len(bare.Model) != 92 || bare.Model[0].Name != "l_to_ab.conv_block_1.0.weight" || bare.Epoch != 0 {
		t.Errorf("bare state dict: %d tensors, first %q", len(bare.Model), bare.Model[0].Name)
	}
}

// TestOldBatchNorm: files of PyTorch 0.4.0 have no num_batches_tracked; the parameter order does not care.
func TestOldBatchNorm(t *testing.T) {
	c := sampleCheckpoint(t)
	var old StateDict
	for _, n := range c.Model {
		if !strings.HasSuffix(n.Name, "num_batches_tracked") {
			old = append(old, n)
		}
	}
	c.Model = old
	f, err := Open(writeFile(t, c.Value(), WriteOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := f.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Model) != 7 || len(got.Optimizer.Velocity) != 5 {
		t.Errorf("%d tensors and %d velocities, want 7 and 5", len(got.Model), len(got.Optimizer.Velocity))
	}
}

// TestAdam: moments and steps come back, whether the count is an int or, as since PyTorch 1.12, a tensor.
func TestAdam(t *testing.T) {
	c := sampleCheckpoint(t)
	a := &Adam{Beta1: 0.5, Beta2: 0.999, Eps: 1e-8, Steps: 7}
	for _, p := range c.Model.Parameters() {
		a.First, a.Second = append(a.First, p.Tensor), append(a.Second, p.Tensor)
	}
	c.Optimizer = &Optimizer{LR: 0.1, Adam: a}
	old, young := c.Value(), c.Value()
	state := young.Dict("optimizer").Dict("state")
	for i := range a.First {
		n, err := FromRaw(raw.FromFloat32("", nil, []float32{7}))
		if err != nil {
			t.Fatal(err)
		}
		state.Dict(int64(i)).Set("step", n)
	}
	for name, root := range map[string]*Dict{"int": old, "tensor": young} {
		f, err := Open(writeFile(t, root, WriteOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got, err := f.Checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		o := got.Optimizer
		if o.Adam == nil || o.LR != 0.1 || o.Adam.Beta1 != 0.5 || o.Adam.Beta2 != 0.999 || o.Adam.Eps != 1e-8 || o.Adam.Steps != 7 ||
			len(o.Adam.First) != len(a.First) || o.Adam.First[0] == nil || o.Adam.Second[len(a.Second)-1] == nil {
			t.Errorf("%s: %+v, %+v", name, o, o.Adam)
		}
	}
}

// TestRewrite writes every golden file again, through Write and through Checkpoint.Value, and compares the trees.
func TestRewrite(t *testing.T) {
	for name, e := range expectations(t) {
		if e.Expect != "load" {
			continue
		}
		f, err := Open(filepath.Join(goldenDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		describe(t, unNumPy(f.Root), "", want)
		same(t, name, rewritten(t, f.Root), want)
		if c, err := f.Checkpoint(); err == nil && c.Epoch > 0 && c.Optimizer != nil && name != "cmc_tiny_2019style_legacy.pth" {
			// Checkpoint.Value keeps what the scripts read, not the newer fields of a parameter group.
			again := rewritten(t, c.Value())
			for path := range want {
				if strings.HasPrefix(path, "/optimizer/param_groups/0/") {
					delete(want, path)
				}
			}
			for path := range again {
				if strings.HasPrefix(path, "/optimizer/param_groups/0/") {
					delete(again, path)
				}
			}
			same(t, name+" as Checkpoint", again, want)
		}
		f.Close()
	}
}

// unNumPy replaces NumPy scalars by plain ones, as Write does.
func unNumPy(v Value) Value {
	switch v := v.(type) {
	case NumPy:
		return v.Value
	case *List:
		out := &List{}
		for _, c := range v.Items {
			out.Items = append(out.Items, unNumPy(c))
		}
		return out
	case *Dict:
		out := NewDict(v.Class)
		for i := range v.Len() {
			k, c := v.At(i)
			out.Set(k, unNumPy(c))
		}
		return out
	}
	return v
}

func rewritten(t *testing.T, v Value) map[string]string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, v, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	f, err := NewFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	describe(t, f.Root, "", out)
	for _, x := range f.Tensors() {
		if x.s.off%storageAlign != 0 && x.Len() > 0 {
			t.Errorf("storage of %q starts at %d, not at a multiple of %d", x.Name, x.s.off, storageAlign)
		}
	}
	return out
}

func TestCheckpointRefuses(t *testing.T) {
	dict := func(kv ...Value) *Dict {
		d := NewDict(PlainDict)
		for i := 0; i < len(kv); i += 2 {
			d.Set(kv[i], kv[i+1])
		}
		return d
	}
	good := sampleCheckpoint(t)
	short := *good.Optimizer
	short.Velocity = short.Velocity[1:]
	wrong := *good.Optimizer
	wrong.Velocity = append([]*Tensor{good.Contrast[0].Tensor}, wrong.Velocity[1:]...)
	twice := dict("module.a", good.Model[0].Tensor, "a", good.Model[0].Tensor)
	for name, c := range map[string]struct {
		root Value
		want string
	}{
		"a list":        {&List{}, "expected a dict"},
		"no model":      {dict("epoch", int64(1)), "no model"},
		"model is text": {dict("model", "x"), "was the whole module saved?"},
		"text in model": {dict("model", dict("a\nb", "x")), `an entry "a\nb" that is a string, expected a tensor`},
		"adam's step": {dict("model", dict(), "optimizer", dict("state", dict(int64(0), dict("step", "\n")), "param_groups",
			&List{Items: []Value{dict("betas", Tuple{0.9, 0.99}, "params", &List{Items: []Value{int64(0)}})}})), `step is "\n"`},
		"twice":         {dict("model", twice), "twice once wrapper prefixes are removed"},
		"epoch":         {dict("model", dict(), "epoch", "x"), "expected a count"},
		"opt":           {dict("model", dict(), "opt", "x"), "expected an argparse.Namespace"},
		"optimizer":     {dict("model", dict(), "optimizer", "x"), "param_groups"},
		"fewer momenta": {(&Checkpoint{Model: good.Model, Optimizer: &short}).Value(), "4 parameters, the model has 5"},
		"wrong momenta": {(&Checkpoint{Model: good.Model, Optimizer: &wrong}).Value(), `momentum of "conv1.weight" has shape [4]`},
	} {
		if _, err := (&File{Root: c.root}).Checkpoint(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
