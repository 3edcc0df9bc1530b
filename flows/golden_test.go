package flows_test

import (
	"fmt"
	"math"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/contraflow/contraflow/ops/opstest/golden"
)

// goldens collects what every golden test compared: for the table at the end, and to find what a test that opened a file
// left out.
var goldens = struct {
	sync.Mutex
	rows     map[string]*goldenRow
	opened   map[string]*golden.File
	compared map[string]bool // file and array, or group of arrays
}{rows: map[string]*goldenRow{}, opened: map[string]*golden.File{}, compared: map[string]bool{}}

type goldenRow struct {
	arrays     int
	worst, tol float64 // of the array nearest to its tolerance
	name       string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if len(goldens.rows) > 0 && testing.Verbose() {
		var cases []string
		for c := range goldens.rows {
			cases = append(cases, c)
		}
		sort.Strings(cases)
		fmt.Printf("%-44s %7s %12s %12s  %s\n", "case", "arrays", "worst error", "tolerance", "array nearest to its tolerance")
		for _, c := range cases {
			r := goldens.rows[c]
			fmt.Printf("%-44s %7d %12.2e %12.2e  %s\n", c, r.arrays, r.worst, r.tol, r.name)
		}
	}
	if left := leftOut(); code == 0 && len(left) > 0 {
		fmt.Printf("golden: %d results of the files were compared with nothing: %s\n", len(left), strings.Join(left, ", "))
		code = 1
	}
	os.Exit(code)
}

// leftOut lists the results with a stated tolerance, in files that a test opened, that nothing was compared with.
func leftOut() []string {
	var left []string
	for name, f := range goldens.opened {
		for array := range f.Meta.Tolerances {
			if (f.Arrays[array] != nil || f.Meta.Names[array] != nil) && !goldens.compared[name+" "+array] {
				left = append(left, name+" "+array)
			}
		}
	}
	sort.Strings(left)
	return left
}

// mark says that a file's array, or group of arrays, was compared.
func mark(f *golden.File, array string) {
	goldens.Lock()
	goldens.compared[f.Name+" "+array] = true
	goldens.Unlock()
}

// forget drops what was noted of a case, before it is tried anew.
func forget(kase string) {
	goldens.Lock()
	delete(goldens.rows, kase)
	goldens.Unlock()
}

// note records a comparison and fails the test when it is beyond its tolerance.
func note(t testing.TB, kase, array string, err, tol float64) {
	t.Helper()
	goldens.Lock()
	r := goldens.rows[kase]
	if r == nil {
		r = &goldenRow{}
		goldens.rows[kase] = r
	}
	r.arrays++
	if r.arrays == 1 || err/max(tol, 1e-300) > r.worst/max(r.tol, 1e-300) {
		r.worst, r.tol, r.name = err, tol, array
	}
	goldens.Unlock()
	if !(err <= tol) {
		t.Errorf("%s: %s: error %.3g, tolerance %.3g", kase, array, err, tol)
	}
}

// compare checks an array against the file's truth within the file's tolerance.
func compare(t testing.TB, f *golden.File, kase, name string, got []float32) {
	t.Helper()
	want := f.Truth(name)
	if want == nil {
		t.Fatalf("%s has no array %s", f.Name, name)
	}
	if want.Len() != len(got) {
		t.Fatalf("%s: %s: %d values, want %d", f.Name, name, len(got), want.Len())
	}
	tol, ok := f.Tolerance(name)
	if !ok {
		tol = golden.Tolerance{Rel: 1e-6}
	}
	scale := tol.Scale
	if scale == 0 {
		for _, v := range want.F {
			scale = max(scale, math.Abs(float64(v)))
		}
	}
	mark(f, name)
	note(t, kase, name, maxDiff(got, want.F)/max(scale, 1e-30), deviceTolerance(tol.Rel))
}

func maxDiff(a, b []float32) float64 {
	worst := 0.0
	for i := range a {
		d := math.Abs(float64(a[i]) - float64(b[i]))
		if !(d <= worst) {
			worst = d
		}
	}
	return worst
}

// open reads a golden file; a missing one fails the test.
func open(t *testing.T, name string) *golden.File {
	t.Helper()
	f, err := golden.Open(golden.Dir(), name)
	if err != nil {
		t.Fatal(err)
	}
	goldens.Lock()
	goldens.opened[name] = f
	goldens.Unlock()
	return f
}

// cases lists the prefixes before the first dot of a file's arrays.
func cases(t *testing.T, f *golden.File) []string {
	t.Helper()
	seen := map[string]bool{}
	var out []string
	for name := range f.Arrays {
		c, _, ok := strings.Cut(name, ".")
		if ok && !seen[c] {
			seen[c] = true
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s holds no case", f.Name)
	}
	sort.Strings(out)
	return out
}
