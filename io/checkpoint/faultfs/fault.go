package faultfs

import (
	"errors"
	"io"
	"path/filepath"
	"sync"

	"github.com/contraflow/contraflow/io/checkpoint"
)

// Op is one operation that changes a file system.
type Op struct {
	N    int    // counted from 1
	Kind string // mkdir, create, write, sync, close, rename, remove or syncdir
	Path string // of a rename, where it goes
}

// ErrShort makes a write stop half way with io.ErrShortWrite.
var ErrShort = errors.New("faultfs: short write")

// ErrCrashed is what every operation returns after a CrashAt. When it hits the removal of a folder, half of what is in
// the folder is gone.
var ErrCrashed = errors.New("faultfs: the process is gone")

// FS asks Before about every changing operation on Under, and returns its error instead of carrying the operation out.
// Before is called by one goroutine at a time.
type FS struct {
	Under  checkpoint.FS
	Before func(Op) error

	mu      sync.Mutex
	n       int
	crashed bool
}

// FailAt fails the n-th operation with err, once.
func FailAt(n int, err error) func(Op) error {
	return func(op Op) error {
		if op.N == n {
			return err
		}
		return nil
	}
}

// CrashAt stops before the n-th operation, and there are no more after it.
func CrashAt(n int) func(Op) error {
	return func(op Op) error {
		if op.N >= n {
			return ErrCrashed
		}
		return nil
	}
}

// Count is how many operations there have been.
func (f *FS) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

func (f *FS) before(kind, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	if f.Before == nil {
		return nil
	}
	err := f.Before(Op{f.n, kind, path})
	f.crashed = f.crashed || errors.Is(err, ErrCrashed) && kind != "remove"
	return err
}

// Mkdir makes a folder.
func (f *FS) Mkdir(name string) error {
	if err := f.before("mkdir", name); err != nil {
		return err
	}
	return f.Under.Mkdir(name)
}

// Create opens a file for writing.
func (f *FS) Create(name string) (checkpoint.WriteFile, error) {
	if err := f.before("create", name); err != nil {
		return nil, err
	}
	w, err := f.Under.Create(name)
	if err != nil {
		return nil, err
	}
	return &file{f, name, w}, nil
}

// Open opens a file for reading, which never fails on purpose.
func (f *FS) Open(name string) (checkpoint.ReadFile, error) { return f.Under.Open(name) }

// Rename renames.
func (f *FS) Rename(from, to string) error {
	if err := f.before("rename", to); err != nil {
		return err
	}
	return f.Under.Rename(from, to)
}

// Remove removes.
func (f *FS) Remove(name string) error {
	gone := f.crashed
	if err := f.before("remove", name); err != nil {
		f.crashed = errors.Is(err, ErrCrashed)
		if names, _ := f.Under.ReadDir(name); f.crashed && !gone {
			for _, n := range names[:(len(names)+1)/2] {
				f.Under.Remove(filepath.Join(name, n))
			}
		}
		return err
	}
	return f.Under.Remove(name)
}

// ReadDir lists, which never fails on purpose.
func (f *FS) ReadDir(name string) ([]string, error) { return f.Under.ReadDir(name) }

// SyncDir syncs a folder.
func (f *FS) SyncDir(name string) error {
	if err := f.before("syncdir", name); err != nil {
		return err
	}
	return f.Under.SyncDir(name)
}

type file struct {
	fs   *FS
	name string
	w    checkpoint.WriteFile
}

func (f *file) Write(p []byte) (int, error) {
	err := f.fs.before("write", f.name)
	if errors.Is(err, ErrShort) {
		n, err := f.w.Write(p[:len(p)/2])
		return n, errors.Join(err, io.ErrShortWrite)
	}
	if err != nil {
		return 0, err
	}
	return f.w.Write(p)
}

func (f *file) Sync() error {
	if err := f.fs.before("sync", f.name); err != nil {
		return err
	}
	return f.w.Sync()
}

// Close always closes the file below: a process that is gone has closed its files too.
func (f *file) Close() error {
	return errors.Join(f.fs.before("close", f.name), f.w.Close())
}
