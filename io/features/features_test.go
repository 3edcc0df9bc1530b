package features

import (
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/contraflow/contraflow/io/peertest"
	"github.com/contraflow/contraflow/io/safetensors"
)

func set() *Set {
	return &Set{Dim: 3, Rows: []float32{1, 2, 3, 4, 5, float32(math.Inf(-1))}, Index: []int{7, 9}, Labels: []int{1, 0}, Names: []string{"a.jpg", "b.jpg"},
		Classes: []string{"cat", "dog"}, Meta: map[string]string{"layer": "layer6"}}
}

// Features of a large data set fill the memory: to write them takes none.
func TestWriteTakesNoCopy(t *testing.T) {
	s := &Set{Dim: 1 << 20, Rows: make([]float32, 4<<20), Index: make([]int, 4), Labels: make([]int, 4)}
	for _, ending := range []string{".npy", ".safetensors"} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Write(filepath.Join(t.TempDir(), "f"+ending), s); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
			t.Errorf("%s of 16 MB took %d bytes", ending, n)
		}
	}
}

// A matrix is not there before Commit, is what was written after it, and gives a clear line when it is of another shape.
func TestMatrix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.npy")
	m, err := Create(path, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	copy(m.Values(), set().Rows)
	if _, err := Open(path, 2, 3); !os.IsNotExist(err) {
		t.Errorf("before Commit: %v", err)
	}
	if err := m.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if m, err = Open(path, 2, 3); err != nil {
		t.Fatal(err)
	}
	if r := m.Row(1); r[0] != 4 || !math.IsInf(float64(r[2]), -1) {
		t.Errorf("row 1 is %v", r)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	for _, shape := range [][2]int{{3, 2}, {2, 4}} {
		if _, err := Open(path, shape[0], shape[1]); err == nil || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%v: %v", shape, err)
		}
	}
	if err := os.Truncate(path, headerSize+5*4); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, 2, 3); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("a value is missing at the end: %v", err)
	}
	lost, err := Create(filepath.Join(filepath.Dir(path), "lost.npy"), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := lost.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("%d files are left, want the one that was committed", len(left))
	}
}

// Windows renames no open file, and nothing over one: a matrix that is in memory holds none, also when its name cannot be given.
func TestMatrixHoldsNoFile(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("NOT CHECKED: the system does not say which files are open")
	}
	dir := t.TempDir()
	holds := func(when string) {
		t.Helper()
		open, _ := filepath.Glob("/proc/self/fd/*")
		for _, fd := range open {
			if name, err := os.Readlink(fd); err == nil && strings.HasPrefix(name, dir) {
				t.Errorf("%s: %s is open", when, name)
			}
		}
	}
	path, taken := filepath.Join(dir, "m.npy"), filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{path, taken} {
		m, err := Create(to, 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		copy(m.Values(), set().Rows)
		if err := m.Commit(); (err != nil) != (to == taken) {
			t.Errorf("%s: %v", to, err)
		}
		holds("after Commit of " + to)
		if r := m.Row(1); r[0] != 4 {
			t.Errorf("%s: row 1 is %v", to, r)
		}
		if err := m.Close(); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("%d entries are left, want the matrix and what was in the way of another", len(left))
	}
	m, err := Open(path, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if holds("after Open"); m.Row(1)[0] != 4 {
		t.Errorf("row 1 is %v", m.Row(1))
	}
}

// Every format gives back what was written; NumPy reads the .npy files where it is installed.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if _, err := Write(filepath.Join(dir, "x.csv"), set()); err == nil || !strings.Contains(err.Error(), Formats) {
		t.Errorf("a foreign ending: %v", err)
	}
	pq := filepath.Join(dir, "x.parquet")
	if _, err := Write(pq, set()); err != nil {
		t.Fatal(err)
	}
	rows, err := parquet.ReadFile[Row](pq)
	if err != nil || len(rows) != 2 {
		t.Fatal(rows, err)
	}
	if r := rows[1]; r.Index != 9 || r.Label != 0 || r.Class != "cat" || r.Name != "b.jpg" || len(r.Features) != 3 || r.Features[1] != 5 {
		t.Errorf("row 1 is %+v", r)
	}
	st := filepath.Join(dir, "x.safetensors")
	if _, err := Write(st, set()); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Open(st)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := f.Read("features")
	if err != nil || got.Float32s()[4] != 5 || f.Metadata["classes"] != `["cat","dog"]` || f.Metadata["layer"] != "layer6" {
		t.Errorf("%v %v %v", got, f.Metadata, err)
	}
	if label, err := f.Read("label"); err != nil || label.Int(0) != 1 {
		t.Errorf("%v %v", label, err)
	}
	files, err := Write(filepath.Join(dir, "x.npy"), set())
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	m, err := Open(files[2], 2, 3)
	if err != nil || m.Row(0)[2] != 3 {
		t.Fatal(err)
	}
	m.Close()
	script := `import numpy as np, sys
d = sys.argv[1] + "/x"
assert np.load(d + ".npy", mmap_mode="r").tolist() == [[1, 2, 3], [4, 5, -np.inf]]
assert np.load(d + ".index.npy").tolist() == [7, 9] and np.load(d + ".label.npy").tolist() == [1, 0]`
	peertest.Run(t, "numpy", "-c", script, dir)
}

// A set whose parts differ in length is refused, and one without names has none.
func TestWriteOfOtherLengths(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	for name, change := range map[string]func(s *Set){
		"rows":    func(s *Set) { s.Rows = s.Rows[:5] },
		"indices": func(s *Set) { s.Index = s.Index[:1] },
		"labels":  func(s *Set) { s.Labels = append(s.Labels, 0) },
	} {
		s := set()
		change(s)
		if _, err := Write(path, s); err == nil || !strings.Contains(err.Error(), "are not rows of 3") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := set()
	s.Names = nil
	if _, err := Write(path, s); err != nil {
		t.Fatal(err)
	}
	if rows, err := parquet.ReadFile[Row](path); err != nil || len(rows) != 2 || rows[1].Name != "" || rows[1].Class != "cat" {
		t.Errorf("without names: %+v, %v", rows, err)
	}
}

// A write that fails is an error, leaves the file that was there, and nothing beside it.
func TestReplaceFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.npy")
	if err := os.WriteFile(path, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk is full")
	err := replace(path, func(w io.Writer) error {
		_, err := w.Write([]byte("aft"))
		return errors.Join(err, full)
	})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want one that names %s", err, path)
	}
	if text, err := os.ReadFile(path); string(text) != "before" || err != nil {
		t.Errorf("the file holds %q, %v", text, err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("%d files are left", len(left))
	}
}
