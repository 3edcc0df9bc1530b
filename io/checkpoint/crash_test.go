package checkpoint_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/checkpoint/faultfs"
	"github.com/contraflow/contraflow/io/raw"
)

const dir = "runs/a"

// state is a small one whose every byte depends on step.
func state(step int) *checkpoint.State {
	w := make([]float32, 300)
	for i := range w {
		w[i] = float32(step*1000 + i)
	}
	return &checkpoint.State{
		Step: step, Epoch: step / 10,
		Tensors: []raw.Tensor{
			raw.FromFloat32("model/l_to_ab.conv1.weight", []int{3, 100}, w),
			raw.FromInt64("model/l_to_ab.bn1.num_batches_tracked", nil, []int64{int64(step)}),
			raw.FromFloat32("contrast/memory", []int{4, 25}, w[:100]),
		},
		Meta: map[string]json.RawMessage{"pointer": json.RawMessage(fmt.Sprint(step * 4)), "options": json.RawMessage(`{"lr":0.03}`)},
	}
}

func equalStates(a, b *checkpoint.State) bool {
	if a.Step != b.Step || a.Epoch != b.Epoch || len(a.Tensors) != len(b.Tensors) || len(a.Meta) != len(b.Meta) {
		return false
	}
	for i := range a.Tensors {
		x, y := &a.Tensors[i], &b.Tensors[i]
		if x.Name != y.Name || x.DType != y.DType || fmt.Sprint(x.Shape) != fmt.Sprint(y.Shape) || !bytes.Equal(x.Data, y.Data) {
			return false
		}
	}
	for k, v := range a.Meta {
		var x, y bytes.Buffer
		if json.Compact(&x, v) != nil || json.Compact(&y, b.Meta[k]) != nil || x.String() != y.String() {
			return false
		}
	}
	return true
}

// newMem has the folder of all runs, safely on disk.
func newMem(t *testing.T) *faultfs.Mem {
	t.Helper()
	mem := &faultfs.Mem{}
	if err := errors.Join(mem.Mkdir("runs"), mem.SyncDir(".")); err != nil {
		t.Fatal(err)
	}
	return mem
}

func save(t *testing.T, fs checkpoint.FS, step, keep int) checkpoint.Saved {
	t.Helper()
	s, err := checkpoint.Save(fs, dir, state(step), checkpoint.Options{Keep: keep})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// latest loads what a resumed run would, and fails the test if it is damaged or not one of the wanted steps.
func latest(t *testing.T, fs checkpoint.FS, want ...int) int {
	t.Helper()
	path, err := checkpoint.Latest(fs, dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := checkpoint.Load(fs, path)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range want {
		if s.Step == step {
			if !equalStates(s, state(step)) {
				t.Fatalf("step %d is not as it was saved", step)
			}
			return step
		}
	}
	t.Fatalf("latest is step %d, want one of %v", s.Step, want)
	return 0
}

// TestCrashAnywhere saves steps 1 to 3 keeping two, and cuts the fourth save before every one of its operations, in
// every way a disk can look afterwards. Step 3, or 4 once its save returned, must load; and saving must work again.
func TestCrashAnywhere(t *testing.T) {
	for _, fourth := range []int{4, 3} { // 3: a run that went back and passes the step again
		operations := 0
		for n := 1; ; n++ {
			mem := newMem(t)
			for step := 1; step <= 3; step++ {
				save(t, mem, step, 2)
			}
			f := &faultfs.FS{Under: mem, Before: faultfs.CrashAt(n)}
			_, err := checkpoint.Save(f, dir, state(fourth), checkpoint.Options{Keep: 2})
			if err == nil {
				break
			}
			if !errors.Is(err, faultfs.ErrCrashed) {
				t.Fatalf("operation %d: %v", n, err)
			}
			operations = n
			for _, survive := range []faultfs.Survive{faultfs.Nothing, faultfs.Files, faultfs.Names, faultfs.All} {
				after := mem.PowerCut(survive)
				sound(t, after)
				got := latest(t, after, 3, fourth)
				save(t, after, got+1, 2)
				latest(t, after, got+1)
				if list, err := checkpoint.List(after, dir); err != nil || len(list) > 2 {
					t.Errorf("operation %d: %d checkpoints after the next save, want 2; %v", n, len(list), err)
				}
				names, err := after.ReadDir(dir)
				if err != nil || strings.Contains(strings.Join(names, " "), ".old-") || strings.Contains(strings.Join(names, " "), ".tmp-step") {
					t.Errorf("operation %d: leftovers in %v, %v", n, names, err)
				}
			}
		}
		if operations < 15 {
			t.Errorf("only %d operations were cut, expected a save to have more", operations)
		}
	}
}

// sound checks that whatever is listed loads, and that the pointer names one of them.
func sound(t *testing.T, fs checkpoint.FS) {
	t.Helper()
	list, err := checkpoint.List(fs, dir)
	if err != nil {
		t.Fatal(err)
	}
	pointer := strings.TrimSpace(string(read(t, fs, filepath.Join(dir, "latest"))))
	found := false
	for _, i := range list {
		found = found || filepath.Base(i.Path) == pointer
		if _, err := checkpoint.Load(fs, i.Path); err != nil {
			t.Fatal(err)
		}
	}
	if !found {
		t.Fatalf("latest says %q, the checkpoints are %v", pointer, list)
	}
}

// TestDurable: what Save returned for must survive a power cut the moment after, also the first save of a new folder.
func TestDurable(t *testing.T) {
	mem := newMem(t)
	for step := 1; step <= 4; step++ {
		save(t, mem, step, 2)
		for _, survive := range []faultfs.Survive{faultfs.Nothing, faultfs.Files, faultfs.Names, faultfs.All} {
			latest(t, mem.PowerCut(survive), step)
		}
	}
}

// TestFailAnywhere fails every operation of a save once: the error is one line that names the cause, the checkpoint
// before is loadable, and the run can save again.
func TestFailAnywhere(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EROFS, faultfs.ErrShort} {
		kinds := map[string]int{}
		for n := 1; ; n++ {
			mem := newMem(t)
			save(t, mem, 1, 1)
			f := &faultfs.FS{Under: mem, Before: faultfs.FailAt(n, cause)}
			inject := f.Before
			f.Before = func(op faultfs.Op) error {
				if op.N == n {
					kinds[op.Kind]++
				}
				return inject(op)
			}
			_, err := checkpoint.Save(f, dir, state(2), checkpoint.Options{Keep: 1})
			if f.Count() < n {
				break
			}
			if err == nil || strings.Contains(err.Error(), "\n") || cause != faultfs.ErrShort && !errors.Is(err, cause) {
				t.Errorf("operation %d failing with %q: error %q", n, cause, err)
			}
			latest(t, mem, 1, 2)
			save(t, mem, 3, 1)
			latest(t, mem, 3)
		}
		for _, kind := range []string{"mkdir", "create", "write", "sync", "close", "rename", "remove", "syncdir"} {
			if kinds[kind] == 0 {
				t.Errorf("%v: no %s was made to fail", cause, kind)
			}
		}
	}
}

// TestDamage flips each byte of a checkpoint in turn: Load must notice, name the file and offer the one before.
func TestDamage(t *testing.T) {
	mem := newMem(t)
	save(t, mem, 1, 0)
	path := save(t, mem, 2, 0).Path
	for _, name := range []string{checkpoint.StateFile, checkpoint.TensorFile} {
		good := read(t, mem, filepath.Join(path, name))
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 0x01
			overwrite(t, mem, filepath.Join(path, name), bad)
			s, err := checkpoint.Load(mem, path)
			if err == nil && equalStates(s, state(2)) {
				continue // a space of padding between JSON tokens, or the like
			}
			var damaged *checkpoint.DamagedError
			if !errors.As(err, &damaged) || damaged.Previous != filepath.Join(dir, "step-000000001") ||
				!strings.Contains(err.Error(), path) || !strings.HasSuffix(err.Error(), "resume from "+damaged.Previous) {
				t.Fatalf("%s byte %d (%q): %v", name, i, good[i], err)
			}
		}
		for _, n := range []int{0, 1, len(good) / 2, len(good) - 1} {
			overwrite(t, mem, filepath.Join(path, name), good[:n])
			s, err := checkpoint.Load(mem, path)
			if err == nil && equalStates(s, state(2)) && n == len(good)-1 && name == checkpoint.StateFile {
				continue // the final newline
			}
			var damaged *checkpoint.DamagedError
			if !errors.As(err, &damaged) || damaged.File != name {
				t.Fatalf("%s cut to %d bytes: %v", name, n, err)
			}
		}
		overwrite(t, mem, filepath.Join(path, name), good)
	}
	if _, err := checkpoint.Load(mem, path); err != nil {
		t.Fatal(err)
	}
	// One flipped bit in the last tensor is reported by its name.
	good := read(t, mem, filepath.Join(path, checkpoint.TensorFile))
	good[len(good)-1] ^= 0x80
	overwrite(t, mem, filepath.Join(path, checkpoint.TensorFile), good)
	_, err := checkpoint.Load(mem, path)
	var damaged *checkpoint.DamagedError
	if !errors.As(err, &damaged) || damaged.Tensor != "contrast/memory" {
		t.Errorf("error %v, want one that names contrast/memory", err)
	}
	t.Log(err)
	if err := mem.Remove(filepath.Join(path, checkpoint.StateFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.Load(mem, path); !errors.As(err, &damaged) || damaged.File != checkpoint.StateFile {
		t.Errorf("without %s: %v", checkpoint.StateFile, err)
	}
	overwrite(t, mem, filepath.Join(dir, "step-000000001", checkpoint.TensorFile), nil)
	if _, err := checkpoint.Load(mem, path); !errors.As(err, &damaged) || damaged.Previous != "" || !strings.Contains(err.Error(), "no older checkpoint is intact") {
		t.Errorf("all are damaged: %v", err)
	}
}

func read(t *testing.T, fs checkpoint.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func overwrite(t *testing.T, fs checkpoint.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// within fails the test when f allocates more, freed or not, than 4 MiB and factor times the size of its input.
func within(t *testing.T, size, factor int, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(4<<20+factor*size); got > limit {
		t.Fatalf("allocated %d bytes for a file of %d, limit %d", got, size, limit)
	}
}

// FuzzLoad changes the two files of a checkpoint: Load must return sound tensors or an error of one line.
func FuzzLoad(f *testing.F) {
	mem := &faultfs.Mem{}
	saved, err := checkpoint.Save(mem, dir, state(1), checkpoint.Options{})
	if err != nil {
		f.Fatal(err)
	}
	names := []string{checkpoint.StateFile, checkpoint.TensorFile}
	var files [2][]byte
	for i, name := range names {
		r, err := mem.Open(filepath.Join(saved.Path, name))
		if err != nil {
			f.Fatal(err)
		}
		size, err := r.Size()
		if err != nil {
			f.Fatal(err)
		}
		files[i] = make([]byte, size)
		if _, err := r.ReadAt(files[i], 0); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(files[0], files[1])
	f.Add([]byte(`{"crc32c": "00000000", "state": {}}`), []byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		mem := &faultfs.Mem{}
		if err := mem.Mkdir(saved.Path); err != nil {
			t.Fatal(err)
		}
		overwrite(t, mem, filepath.Join(saved.Path, names[0]), a)
		overwrite(t, mem, filepath.Join(saved.Path, names[1]), b)
		var s *checkpoint.State
		var err error
		within(t, len(a)+len(b), 64, func() { s, err = checkpoint.Load(mem, saved.Path) })
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("error of more than one line: %q", err)
			}
			return
		}
		for i := range s.Tensors {
			if err := s.Tensors[i].Check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
