package flows

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/npz"
	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/io/safetensors"
	"github.com/contraflow/contraflow/io/torch"
)

// StateFormats are the kinds of file that ReadState and WriteState know.
const StateFormats = "a run folder, a checkpoint folder, .pth, .safetensors or .npz"

// classifierPrefix stands before the tensors of a linear probe, which a .pth of the reference keeps apart.
const classifierPrefix = "classifier/"

// ReadState reads a run's state from whatever is at path: the latest checkpoint of a run folder, one checkpoint folder,
// a .pth of the reference in either layout, .safetensors or .npz. Tensors are named as in a checkpoint folder; a file
// that only has bare tensors gives a state of parameters.
//
// A .pth knows whole epochs and not steps: Epoch is the number of epochs done and Step is 0.
func ReadState(path string) (*checkpoint.State, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: expected %s", path, fs.ErrNotExist, StateFormats)
	}
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		at := path
		latest, err := checkpoint.Latest(checkpoint.Disk{}, path)
		if err == nil {
			at = latest
		} else if !errors.Is(err, checkpoint.ErrNone) {
			return nil, err
		}
		s, err := checkpoint.Load(checkpoint.Disk{}, at)
		if err != nil && at == path && !isCheckpoint(path) {
			return nil, fmt.Errorf("%s is neither a run folder with a checkpoint nor a checkpoint: expected %s", path, StateFormats)
		}
		return s, err
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".safetensors":
		return readSafetensors(path)
	case ".npz":
		return readNPZ(path)
	case ".pth", ".pt", ".tar", ".ckpt":
		return readPth(path)
	}
	return nil, fmt.Errorf("%s has an ending that says nothing about its format: expected %s", path, StateFormats)
}

// isCheckpoint says whether a folder is a checkpoint, whole or not: it has the name of one, or either of its files.
func isCheckpoint(path string) bool {
	list, _ := checkpoint.List(checkpoint.Disk{}, filepath.Dir(path))
	if slices.ContainsFunc(list, func(i checkpoint.Info) bool { return i.Path == filepath.Clean(path) }) {
		return true
	}
	return slices.ContainsFunc([]string{checkpoint.StateFile, checkpoint.TensorFile}, func(name string) bool {
		_, err := os.Stat(filepath.Join(path, name))
		return err == nil
	})
}

// WriteState writes s to path in the format of its ending. A path without one becomes a run folder with one checkpoint: it must be new
// or empty, since what is in it may be another run, and in nobody's use, or the error matches checkpoint.ErrInUse. A file appears
// under its name only when it is complete. A .pth has the layout that the reference's scripts load, with its options in a dict, which
// torch.load of every version takes; with namespace they are an argparse.Namespace, as the reference writes them and PyTorch from 2.6
// on refuses unless it is told to trust the file.
func WriteState(path string, s *checkpoint.State, namespace bool) error {
	ending := strings.ToLower(filepath.Ext(path))
	if info, err := os.Stat(path); ending == "" || err == nil && info.IsDir() {
		entries, _ := os.ReadDir(path)
		entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.Name() == checkpoint.LockFile })
		if len(entries) > 0 {
			return fmt.Errorf("%s is not empty (%s and %d more): give an empty or new folder", path, entries[0].Name(), len(entries)-1)
		}
		lock, err := checkpoint.Acquire(path) // a run that is about to begin there would delete this checkpoint, or go on from it
		if err != nil {
			return err
		}
		defer lock.Release()
		_, err = checkpoint.Save(checkpoint.Disk{}, path, asFloat32(s), checkpoint.Options{})
		return err
	}
	var write func(io.Writer) error
	switch ending {
	case ".safetensors":
		meta, err := json.Marshal(cursorOf(s))
		if err != nil {
			return err
		}
		write = func(w io.Writer) error {
			return safetensors.Write(w, s.Tensors, map[string]string{metaKey: string(meta)})
		}
	case ".npz":
		write = func(w io.Writer) error { return writeNPZ(w, s) }
	case ".pth", ".pt":
		c, err := toPth(s)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		write = func(w io.Writer) error {
			return torch.Write(w, c.Value(), torch.WriteOptions{PlainNamespace: !namespace, Name: name})
		}
	default:
		return fmt.Errorf("%s has an ending that is no format to write: expected %s", path, StateFormats)
	}
	return ReplaceFile(path, write)
}

// Convert reads a state from one path and writes it to another, in the formats of ReadState and WriteState.
func Convert(in, out string, namespace bool) error {
	s, err := ReadState(in)
	if err != nil {
		return err
	}
	return WriteState(out, s, namespace)
}

// cursor is what a file of tensors keeps beside them.
type cursor struct {
	Step  int                        `json:"step"`
	Epoch int                        `json:"epoch"`
	Meta  map[string]json.RawMessage `json:"meta,omitempty"`
}

// metaKey names the cursor in formats that have no place of their own for it.
const metaKey = "contraflow"

func cursorOf(s *checkpoint.State) cursor { return cursor{s.Step, s.Epoch, s.Meta} }

func (c cursor) into(s *checkpoint.State) { s.Step, s.Epoch, s.Meta = c.Step, c.Epoch, c.Meta }

func readSafetensors(path string) (*checkpoint.State, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &checkpoint.State{}
	if text, ok := f.Metadata[metaKey]; ok {
		var c cursor
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			return nil, fmt.Errorf("%s: metadata: %w", path, err)
		}
		c.into(s)
	}
	for _, e := range f.Entries {
		t, err := f.Read(e.Name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		s.Tensors = append(s.Tensors, t)
	}
	return s, nil
}

func readNPZ(path string) (*checkpoint.State, error) {
	f, err := npz.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &checkpoint.State{}
	for _, name := range f.Names {
		t, err := f.Read(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if name != metaKey || t.DType != raw.Uint8 {
			s.Tensors = append(s.Tensors, t)
			continue
		}
		var c cursor
		if err := json.Unmarshal(t.Data, &c); err != nil {
			return nil, fmt.Errorf("%s: array %q: %w", path, name, err)
		}
		c.into(s)
	}
	return s, nil
}

// writeNPZ adds the cursor as an array of the bytes of its JSON.
func writeNPZ(w io.Writer, s *checkpoint.State) error {
	text, err := json.Marshal(cursorOf(s))
	if err != nil {
		return err
	}
	meta := raw.Tensor{Name: metaKey, DType: raw.Uint8, Shape: []int{len(text)}, Data: text}
	return npz.Write(w, append([]raw.Tensor{meta}, s.Tensors...))
}

// asFloat32 widens half-precision tensors: a run computes with float32, and every half is one.
func asFloat32(s *checkpoint.State) *checkpoint.State {
	out := *s
	out.Tensors = make([]raw.Tensor, len(s.Tensors))
	for i, t := range s.Tensors {
		if t.DType == raw.Float16 || t.DType == raw.BFloat16 {
			t = raw.FromFloat32(t.Name, t.Shape, t.Float32s())
		}
		out.Tensors[i] = t
	}
	return &out
}
