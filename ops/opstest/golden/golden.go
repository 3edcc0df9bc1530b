// Package golden reads the numbers that the original system produced, for tests: arrays in npz files, a manifest that
// says what each is, and the deterministic generator that fills what is not stored.
package golden

import (
	"archive/zip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Dir is the folder to read: CONTRAFLOW_GOLDEN, or the copy in the repository, which is found from the test's folder.
func Dir() string {
	if d := os.Getenv("CONTRAFLOW_GOLDEN"); d != "" {
		return d
	}
	for d, i := ".", 0; i < 6; d, i = filepath.Join(d, ".."), i+1 {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return filepath.Join(d, "testdata", "golden")
		}
	}
	return "testdata/golden"
}

// Array is one array of a file: float32 values, or int64 ones.
type Array struct {
	Name  string
	Shape []int
	F     []float32
	I     []int64
}

// Len is the number of elements.
func (a *Array) Len() int { return max(len(a.F), len(a.I)) }

// File is one npz file with its manifest.
type File struct {
	Name   string
	Arrays map[string]*Array
	Meta   Manifest
}

// Manifest is what manifest/<file>.json says: notes, the order of grouped tensors, and tolerances by array or group.
type Manifest struct {
	Notes  []string `json:"notes"`
	Arrays []struct {
		Name string `json:"name"`
		Doc  string `json:"doc"`
	} `json:"arrays"`
	Names      map[string][]string        `json:"names"`
	Tolerances map[string]json.RawMessage `json:"tolerances"`
}

// Tolerance is how far a correct float32 result may be from the float64 one: Rel of the largest value's scale.
type Tolerance struct {
	Rel   float64 `json:"suggest_rel_max"`
	Scale float64 `json:"scale"`
}

// Doc is what the manifest says of an array.
func (f *File) Doc(name string) string {
	for _, a := range f.Meta.Arrays {
		if a.Name == name {
			return a.Doc
		}
	}
	return ""
}

// Tolerance of one array; an array without one is exact data.
func (f *File) Tolerance(name string) (Tolerance, bool) {
	raw, ok := f.Meta.Tolerances[name]
	if !ok {
		return Tolerance{}, false
	}
	var t Tolerance
	if json.Unmarshal(raw, &t) != nil {
		return Tolerance{}, false
	}
	return t, true
}

// Truth is the float64 result of an array where there is one, else the array itself; nil when the file lacks both.
func (f *File) Truth(name string) *Array {
	if a, ok := f.Arrays[name+"__f64"]; ok {
		return a
	}
	return f.Arrays[name]
}

// Open reads dir/name. A missing or broken file is an error with its path.
func Open(dir, name string) (*File, error) {
	path := filepath.Join(dir, name)
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, fmt.Errorf("golden: %s: %w", path, err)
	}
	defer z.Close()
	f := &File{Name: name, Arrays: map[string]*Array{}}
	for _, m := range z.File {
		a, err := readNPY(m)
		if err != nil {
			return nil, fmt.Errorf("golden: %s: %s: %w", path, m.Name, err)
		}
		a.Name = strings.TrimSuffix(m.Name, ".npy")
		f.Arrays[a.Name] = a
	}
	raw, err := os.ReadFile(filepath.Join(dir, "manifest", name+".json"))
	if err != nil {
		return nil, fmt.Errorf("golden: %w", err)
	}
	if err := json.Unmarshal(raw, &f.Meta); err != nil {
		return nil, fmt.Errorf("golden: manifest of %s: %w", name, err)
	}
	return f, nil
}

// Find lists the files of a folder that match a pattern, such as "03_*_*.npz".
func Find(dir, pattern string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return nil, err
	}
	for i, p := range paths {
		paths[i] = filepath.Base(p)
	}
	sort.Strings(paths)
	return paths, nil
}

var header = regexp.MustCompile(`'descr': '([^']*)'.*'fortran_order': (\w+).*'shape': \(([^)]*)\)`)

func readNPY(m *zip.File) (*Array, error) {
	r, err := m.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if len(raw) < 10 || string(raw[:6]) != "\x93NUMPY" {
		return nil, fmt.Errorf("not an npy array")
	}
	n := int(binary.LittleEndian.Uint16(raw[8:]))
	if len(raw) < 10+n {
		return nil, fmt.Errorf("header cut short")
	}
	h := header.FindStringSubmatch(string(raw[10 : 10+n]))
	if h == nil {
		return nil, fmt.Errorf("header %q not understood", raw[10:10+n])
	}
	a := &Array{}
	count := 1
	for _, s := range strings.Split(h[3], ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		d, err := strconv.Atoi(s)
		if err != nil {
			return nil, err
		}
		a.Shape = append(a.Shape, d)
		count *= d
	}
	data := raw[10+n:]
	// at is where element i, in row-major order, lies in the file.
	at := func(i int) int { return i }
	if h[2] == "True" {
		at = func(i int) int {
			to, stride := 0, count
			for k := len(a.Shape) - 1; k >= 0; k-- {
				stride /= a.Shape[k]
				to += i % a.Shape[k] * stride
				i /= a.Shape[k]
			}
			return to
		}
	}
	switch h[1] {
	case "<f4":
		if len(data) != 4*count {
			return nil, fmt.Errorf("%d bytes for %d values", len(data), count)
		}
		a.F = make([]float32, count)
		for i := range a.F {
			a.F[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*at(i):]))
		}
	case "<i8":
		if len(data) != 8*count {
			return nil, fmt.Errorf("%d bytes for %d values", len(data), count)
		}
		a.I = make([]int64, count)
		for i := range a.I {
			a.I[i] = int64(binary.LittleEndian.Uint64(data[8*at(i):]))
		}
	default:
		return nil, fmt.Errorf("type %s, want <f4 or <i8", h[1])
	}
	return a, nil
}
