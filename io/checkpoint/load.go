package checkpoint

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/contraflow/contraflow/io/safetensors"
)

// ErrNone says that a folder has no checkpoint yet.
var ErrNone = errors.New("no checkpoint")

const (
	prefix   = "step-"
	maxState = 64 << 20 // bytes of state.json
)

// Info names a checkpoint.
type Info struct {
	Path string
	Step int

	attempt int // 0, or how often a run passed this step before
}

func folder(step, attempt int) string {
	if attempt == 0 {
		return fmt.Sprintf("%s%09d", prefix, step)
	}
	return fmt.Sprintf("%s%09d.%d", prefix, step, attempt)
}

func parseFolder(name string) (step, attempt int, ok bool) {
	text, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, 0, false
	}
	text, again, more := strings.Cut(text, ".")
	step, err := strconv.Atoi(text)
	if err != nil {
		return 0, 0, false
	}
	if more {
		if attempt, err = strconv.Atoi(again); err != nil {
			return 0, 0, false
		}
	}
	return step, attempt, folder(step, attempt) == name
}

// List finds the checkpoints of dir, oldest first, without opening them. A folder that is not there has none.
func List(fs FS, dir string) ([]Info, error) {
	names, err := fs.ReadDir(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Info
	for _, n := range names {
		if step, attempt, ok := parseFolder(n); ok {
			list = append(list, Info{filepath.Join(dir, n), step, attempt})
		}
	}
	sort.Slice(list, func(i, j int) bool {
		if list[i].Step != list[j].Step {
			return list[i].Step < list[j].Step
		}
		return list[i].attempt < list[j].attempt
	})
	return list, nil
}

// Latest is the path of the checkpoint to go on from: the one that "latest" names, else the one with the most steps.
// Without any the error is ErrNone.
func Latest(fs FS, dir string) (string, error) {
	list, err := List(fs, dir)
	if err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", fmt.Errorf("%s: %w", dir, ErrNone)
	}
	if text, err := readAll(fs, filepath.Join(dir, pointer), 4096); err == nil {
		for _, i := range list {
			if filepath.Base(i.Path) == strings.TrimSpace(string(text)) {
				return i.Path, nil
			}
		}
	}
	return list[len(list)-1].Path, nil
}

// Load reads the checkpoint at path and verifies every checksum. Damage is a [*DamagedError].
func Load(fs FS, path string) (*State, error) {
	s, err := load(fs, path)
	var damaged *DamagedError
	if errors.As(err, &damaged) {
		damaged.Previous = intactBefore(fs, path)
	}
	return s, err
}

func load(fs FS, path string) (*State, error) {
	bad := func(file string, err error) error {
		var sum *safetensors.ChecksumError
		d := &DamagedError{Path: path, File: file, Err: err}
		if errors.As(err, &sum) {
			d.Tensor = sum.Tensor
		}
		return d
	}
	if _, err := fs.ReadDir(path); err != nil {
		return nil, fmt.Errorf("no checkpoint at %s: %w", path, err)
	}
	text, err := readAll(fs, filepath.Join(path, StateFile), maxState)
	if err != nil {
		return nil, bad(StateFile, err)
	}
	doc, err := decode(text)
	if err != nil {
		return nil, bad(StateFile, err)
	}
	r, err := fs.Open(filepath.Join(path, TensorFile))
	if err != nil {
		return nil, bad(TensorFile, err)
	}
	defer r.Close()
	size, err := r.Size()
	if err != nil {
		return nil, bad(TensorFile, err)
	}
	f, err := safetensors.NewFile(r, size)
	if err != nil {
		return nil, bad(TensorFile, err)
	}
	var sum digest
	for _, e := range f.Entries {
		if e.Sum == nil {
			return nil, bad(TensorFile, fmt.Errorf("tensor %q has no checksum", e.Name))
		}
		sum.add(e.Name, e.DType, e.Shape, *e.Sum)
	}
	if len(f.Entries) != doc.Tensors || sum.String() != doc.Digest {
		return nil, bad(TensorFile, fmt.Errorf("%d tensors with digest %s, %s says %d with %s", len(f.Entries), sum, StateFile, doc.Tensors, doc.Digest))
	}
	s := &State{Step: doc.Step, Epoch: doc.Epoch, Meta: doc.Meta}
	for _, e := range f.Entries {
		t, err := f.Read(e.Name)
		if err != nil {
			return nil, bad(TensorFile, err)
		}
		s.Tensors = append(s.Tensors, t)
	}
	return s, nil
}

// intactBefore is the newest checkpoint before path that loads, or "".
func intactBefore(fs FS, path string) string {
	list, err := List(fs, filepath.Dir(path))
	if err != nil {
		return ""
	}
	at := len(list)
	for i := range list {
		if list[i].Path == filepath.Clean(path) {
			at = i
		}
	}
	for i := at - 1; i >= 0; i-- {
		if _, err := load(fs, list[i].Path); err == nil {
			return list[i].Path
		}
	}
	return ""
}

// DamagedError says what of a checkpoint is not as it was written, and which one to use instead.
type DamagedError struct {
	Path     string // of the checkpoint
	File     string // in it
	Tensor   string // if it is one tensor's bytes
	Previous string // newest older checkpoint that is intact, or ""
	Err      error
}

func (e *DamagedError) Error() string {
	advice := "no older checkpoint is intact"
	if e.Previous != "" {
		advice = "the one before it is intact: resume from " + e.Previous
	}
	return fmt.Sprintf("checkpoint %s is damaged: %s: %v; %s", e.Path, e.File, e.Err, advice)
}

func (e *DamagedError) Unwrap() error { return e.Err }
