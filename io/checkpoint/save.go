package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/contraflow/contraflow/io/safetensors"
)

const (
	temporary = ".tmp-" // folders and files being written
	discarded = ".old-" // folders being removed
	pointer   = "latest"
)

// Options say what Save does besides saving.
type Options struct {
	Keep int // newest checkpoints kept; 0 keeps all
}

// Saved is what one Save did.
type Saved struct {
	Path  string
	Step  int
	Bytes int64 // of the tensors' values and of the state
	Took  time.Duration
}

// Save writes s as a new checkpoint in dir, moves "latest" to it and removes the oldest beyond o.Keep. When it
// returns without an error the checkpoint survives a power cut. After an error everything saved before is as it was.
// One goroutine may save into a folder at a time; [Acquire] keeps other processes out.
func Save(fs FS, dir string, s *State, o Options) (Saved, error) {
	start := time.Now()
	name, err := freeName(fs, dir, s.Step)
	if err != nil {
		return Saved{}, fmt.Errorf("save step %d to %s: %w", s.Step, dir, err)
	}
	saved := Saved{Path: filepath.Join(dir, name), Step: s.Step}
	if saved.Bytes, err = write(fs, dir, name, s); err != nil {
		fs.Remove(filepath.Join(dir, temporary+name)) // give a full disk its room back; the error to report is the first
		return Saved{}, fmt.Errorf("save step %d to %s: %w: checkpoints saved before are not affected", s.Step, dir, err)
	}
	if err := prune(fs, dir, name, o.Keep); err != nil {
		return Saved{}, fmt.Errorf("%s is saved, but removing older checkpoints failed: %w", saved.Path, err)
	}
	saved.Took = time.Since(start)
	return saved, nil
}

// freeName is the folder name for a step. A run that goes back and passes a step again gets a name of its own, so that
// no rename ever replaces a checkpoint.
func freeName(fs FS, dir string, step int) (string, error) {
	if _, err := fs.ReadDir(dir); err != nil { // the first save: its folder's name must survive too
		if err := fs.Mkdir(dir); err != nil {
			return "", err
		}
		if err := fs.SyncDir(filepath.Dir(dir)); err != nil {
			return "", err
		}
	}
	list, err := List(fs, dir)
	if err != nil {
		return "", err
	}
	attempt := 0
	for _, i := range list {
		if i.Step == step {
			attempt = i.attempt + 1
		}
	}
	return folder(step, attempt), nil
}

// write makes the checkpoint durable under name and then moves the pointer to it.
func write(fs FS, dir, name string, s *State) (int64, error) {
	tmp, final := filepath.Join(dir, temporary+name), filepath.Join(dir, name)
	if err := fs.Remove(tmp); err != nil {
		return 0, err
	}
	if err := fs.Mkdir(tmp); err != nil {
		return 0, err
	}
	var sum digest
	var bytes int64
	sums := safetensors.Sums(s.Tensors)
	for i := range s.Tensors {
		t := &s.Tensors[i]
		sum.add(t.Name, t.DType, t.Shape, sums[i])
		bytes += int64(len(t.Data))
	}
	if err := create(fs, filepath.Join(tmp, TensorFile), func(w io.Writer) error { return safetensors.WriteSummed(w, s.Tensors, sums, nil) }); err != nil {
		return 0, err
	}
	text, err := s.encode(sum.String())
	if err != nil {
		return 0, err
	}
	if err := create(fs, filepath.Join(tmp, StateFile), whole(text)); err != nil {
		return 0, err
	}
	if err := fs.SyncDir(tmp); err != nil {
		return 0, err
	}
	if err := fs.Rename(tmp, final); err != nil {
		return 0, err
	}
	if err := fs.SyncDir(dir); err != nil {
		return 0, err
	}
	next := filepath.Join(dir, temporary+pointer)
	if err := create(fs, next, whole([]byte(name+"\n"))); err != nil {
		return 0, err
	}
	if err := fs.Rename(next, filepath.Join(dir, pointer)); err != nil {
		return 0, err
	}
	return bytes + int64(len(text)), fs.SyncDir(dir)
}

func whole(text []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}
}

// create writes a file and syncs it.
func create(fs FS, name string, content func(io.Writer) error) error {
	f, err := fs.Create(name)
	if err != nil {
		return err
	}
	err = content(f)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return nil
}

// prune removes the oldest checkpoints beyond keep, never the one just saved, and what crashes left behind. A
// checkpoint is renamed before it is removed: half a removal must not look like a checkpoint.
func prune(fs FS, dir, current string, keep int) error {
	names, err := fs.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasPrefix(n, discarded) || strings.HasPrefix(n, temporary+prefix) {
			if err := fs.Remove(filepath.Join(dir, n)); err != nil {
				return err
			}
		}
	}
	if keep <= 0 {
		return nil
	}
	list, err := List(fs, dir)
	if err != nil {
		return err
	}
	for _, old := range order(list, current)[:max(len(list)-keep, 0)] {
		gone := filepath.Join(dir, discarded+filepath.Base(old.Path))
		if err := fs.Rename(old.Path, gone); err != nil {
			return err
		}
		if err := fs.SyncDir(dir); err != nil {
			return err
		}
		if err := fs.Remove(gone); err != nil {
			return err
		}
	}
	return nil
}

// order sorts a List by when the checkpoints were made: those with more steps than the current one were left behind
// by a run that went back, and are older than all others; the current one is last.
func order(list []Info, current string) []Info {
	at := len(list)
	for i := range list {
		if filepath.Base(list[i].Path) == current {
			at = i + 1
		}
	}
	return slices.Concat(list[at:], list[:at])
}

// Writer is a stage that saves the snapshots it is given: training goes on while it writes. It starts no goroutine;
// the graph gives it one.
type Writer struct {
	FS      FS
	Dir     string
	Options Options
}

// Run saves one snapshot, which it reads but does not keep. A save that has begun is finished even when ctx is
// cancelled, since the reason is usually a signal and the state the one to go on from.
func (w *Writer) Run(_ context.Context, s *State) (Saved, error) {
	return Save(w.FS, w.Dir, s, w.Options)
}
