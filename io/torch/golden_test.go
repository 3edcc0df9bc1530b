package torch

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// marker is what every evil_* file would create if any of it ran.
const marker = "/tmp/golden_PWNED_MARKER"

// repositoryGolden holds the checkpoints that tests know by name.
var repositoryGolden = filepath.Join("..", "..", "testdata", "golden", "pth")

// goldenDir is repositoryGolden, or pth in the folder that CONTRAFLOW_GOLDEN names.
func goldenDir() string {
	if dir := os.Getenv("CONTRAFLOW_GOLDEN"); dir != "" {
		return filepath.Join(dir, "pth")
	}
	return repositoryGolden
}

type expectation struct {
	Format   string
	Expect   string
	Contents []expected
}

type expected struct {
	Path   string
	Type   string
	Keys   []string
	Value  any
	Len    int
	DType  string
	Shape  []int
	SHA256 string
	First  []any
	Sum    any
}

func expectations(t *testing.T) map[string]expectation {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(goldenDir(), "expected.json"))
	if err != nil {
		t.Fatalf("the checkpoints of the reference are part of the repository: %v", err)
	}
	var all map[string]expectation
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, e := range all {
		kinds[e.Expect]++
	}
	if kinds["load"] == 0 || kinds["REFUSE"]+kinds["ERROR"] == 0 {
		t.Fatalf("expected.json lists %v: want files that load and files that must not", kinds)
	}
	return all
}

// TestGolden loads every checkpoint written by PyTorch and compares the whole tree: keys in order, scalars, and
// the SHA-256 of every tensor's row-major bytes.
func TestGolden(t *testing.T) {
	for name, want := range expectations(t) {
		if want.Expect != "load" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			f, err := Open(filepath.Join(goldenDir(), name))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if f.Layout != want.Format {
				t.Errorf("layout %s, want %s", f.Layout, want.Format)
			}
			tensors := 0
			for _, e := range want.Contents {
				v, ok := lookup(f.Root, e.Path)
				if !ok {
					t.Fatalf("no %q", e.Path)
				}
				compare(t, e, v)
				if e.Type == "tensor" {
					tensors++
				}
			}
			if len(f.Tensors()) != tensors {
				t.Errorf("%d tensors, want exactly %d", len(f.Tensors()), tensors)
			}
		})
	}
}

// lookup follows a path of keys; integer keys and list indices are written in decimal.
func lookup(v Value, path string) (Value, bool) {
	if path == "" {
		return v, true
	}
	var found Value
	ok := false
	each(v, func(key string, child Value) {
		if path == key {
			found, ok = child, true
		} else if rest, cut := strings.CutPrefix(path, key+"/"); cut && !ok {
			found, ok = lookup(child, rest)
		}
	})
	return found, ok
}

func each(v Value, fn func(key string, child Value)) {
	switch v := v.(type) {
	case *Dict:
		for i := range v.Len() {
			k, child := v.At(i)
			fn(fmt.Sprint(k), child)
		}
	case *List:
		for i, child := range v.Items {
			fn(fmt.Sprint(i), child)
		}
	case Tuple:
		for i, child := range v {
			fn(fmt.Sprint(i), child)
		}
	}
}

func compare(t *testing.T, want expected, v Value) {
	t.Helper()
	switch want.Type {
	case "dict", "OrderedDict", "argparse.Namespace":
		d, ok := v.(*Dict)
		if !ok || !strings.HasSuffix(d.Class.String(), want.Type) {
			t.Errorf("%q is %v, want a %s", want.Path, v, want.Type)
			return
		}
		if want.Type == "argparse.Namespace" {
			if got := plain(v); !reflect.DeepEqual(got, want.Value) {
				t.Errorf("%q = %v, want %v", want.Path, got, want.Value)
			}
			return
		}
		var keys []string
		each(d, func(k string, _ Value) { keys = append(keys, k) })
		if len(keys)+len(want.Keys) > 0 && !reflect.DeepEqual(keys, want.Keys) {
			t.Errorf("%q has keys %v, want %v", want.Path, keys, want.Keys)
		}
	case "tensor":
		x, ok := v.(*Tensor)
		if !ok {
			t.Errorf("%q is a %T, want a tensor", want.Path, v)
			return
		}
		compareTensor(t, want, x)
	case "list":
		l, ok := v.(*List)
		if !ok || want.Value == nil && len(l.Items) != want.Len {
			t.Errorf("%q = %v, want a list of %d", want.Path, v, want.Len)
		} else if want.Value != nil && !reflect.DeepEqual(plain(v), want.Value) {
			t.Errorf("%q = %v, want %v", want.Path, plain(v), want.Value)
		}
	default:
		types := map[string]Value{"float": float64(0), "int": int64(0), "bool": false, "NoneType": nil, "numpy.float64": NumPy{}, "str": ""}
		like, known := types[want.Type]
		if !known || reflect.TypeOf(v) != reflect.TypeOf(like) || !reflect.DeepEqual(plain(v), want.Value) {
			t.Errorf("%q = %v (%T), want %s %v", want.Path, v, v, want.Type, want.Value)
		}
	}
}

func compareTensor(t *testing.T, want expected, x *Tensor) {
	t.Helper()
	r, err := x.Raw(want.Path)
	if err != nil {
		t.Error(err)
		return
	}
	if err := r.Check(); err != nil {
		t.Error(err)
		return
	}
	sum := sha256.Sum256(r.Data)
	if r.DType.String() != want.DType || fmt.Sprint(r.Shape) != fmt.Sprint(want.Shape) || hex.EncodeToString(sum[:]) != want.SHA256 {
		t.Errorf("%q is %v %v with SHA-256 %x, want %s %v with %s", want.Path, r.DType, r.Shape, sum, want.DType, want.Shape, want.SHA256)
	}
	f, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	for i, first := range want.First {
		w := map[any]float64{"nan": math.NaN(), "inf": math.Inf(1), "-inf": math.Inf(-1)}[first]
		if n, ok := first.(float64); ok {
			w = n
		}
		if got := r.At(i); got != w && !(math.IsNaN(got) && math.IsNaN(w)) {
			t.Errorf("%q[%d] = %v, want %v", want.Path, i, got, w)
		}
		if float64(f[i]) != float64(float32(w)) && !math.IsNaN(w) {
			t.Errorf("%q[%d] as float32 = %v, want %v", want.Path, i, f[i], w)
		}
	}
	if w, ok := want.Sum.(float64); ok {
		var got float64
		for i := range r.Len() {
			got += r.At(i)
		}
		if math.Abs(got-w) > 1e-9*math.Max(1, math.Abs(w)) {
			t.Errorf("%q sums to %v, want %v", want.Path, got, w)
		}
	}
}

// plain is v as encoding/json would decode it.
func plain(v Value) any {
	switch v := v.(type) {
	case *Dict:
		m := make(map[string]any)
		each(v, func(k string, c Value) { m[k] = plain(c) })
		return m
	case *List:
		l := make([]any, len(v.Items))
		for i, c := range v.Items {
			l[i] = plain(c)
		}
		return l
	case int64:
		return float64(v)
	case NumPy:
		return plain(v.Value)
	}
	return v
}

// TestHostile gives every malicious or damaged file to Open, and reads what it can of those that open: each must end
// in one line of error, without anything run and without memory that the file does not back.
func TestHostile(t *testing.T) {
	os.Remove(marker)
	for name, want := range expectations(t) {
		if want.Expect == "load" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(goldenDir(), name)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			f, err := Open(path)
			if err == nil {
				for _, x := range f.Tensors() {
					if _, err = x.Raw(x.Name); err != nil {
						break
					}
				}
				f.Close()
			}
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Fatal("opened without an error")
			}
			if strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), path) {
				t.Errorf("error is not one line that starts with the path: %q", err)
			}
			var refused *RefusedError
			if want.Expect == "REFUSE" && !errors.As(err, &refused) {
				t.Errorf("error %q does not name the refused global", err)
			}
			if got, limit := int64(after.TotalAlloc-before.TotalAlloc), 1<<20+16*info.Size(); got > limit {
				t.Errorf("allocated %d bytes for a file of %d, limit %d", got, info.Size(), limit)
			}
			if _, err := os.Stat(marker); err == nil {
				t.Fatal("the file's program was run")
			}
			t.Log(err)
		})
	}
}
