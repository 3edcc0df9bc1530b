package checkpoint

import (
	"errors"
	"io"
	"os"
	"runtime"
)

// FS is what Save and Load need of a file system. [Disk] is the real one; package faultfs has one that fails on
// command and one that forgets what was not synced. Errors should match fs.ErrNotExist where they mean it.
type FS interface {
	Mkdir(name string) error               // with parents; fine when it is there
	Create(name string) (WriteFile, error) // truncates
	Open(name string) (ReadFile, error)    // for reading
	Rename(from, to string) error          // replaces a file
	Remove(name string) error              // a file or a whole folder
	ReadDir(name string) ([]string, error) // names, sorted
	SyncDir(name string) error             // makes created, renamed and removed names durable
}

// WriteFile is a file being written.
type WriteFile interface {
	io.Writer
	Sync() error
	Close() error
}

// ReadFile is a file being read.
type ReadFile interface {
	io.ReaderAt
	Size() (int64, error)
	Close() error
}

// Disk is the file system of the machine.
type Disk struct{}

// Mkdir is os.MkdirAll.
func (Disk) Mkdir(name string) error { return os.MkdirAll(name, 0o755) }

// Open is os.Open.
func (Disk) Open(name string) (ReadFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

// Rename is os.Rename.
func (Disk) Rename(from, to string) error { return os.Rename(from, to) }

// Remove is os.RemoveAll.
func (Disk) Remove(name string) error { return os.RemoveAll(name) }

// ReadDir lists names.
func (Disk) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// SyncDir is fsync of a directory. Windows has no such call; there the rename itself is journalled.
func (Disk) SyncDir(name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type diskFile struct{ *os.File }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
