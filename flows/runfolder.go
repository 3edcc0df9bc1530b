package flows

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/contraflow/contraflow/io/checkpoint"
)

// within says whether a checkpoint that is there lies in a run folder, or is that folder.
func within(dir, checkpoint string) bool {
	if checkpoint == "" { // none: as a path it would be the working folder, which may be that of an earlier run
		return false
	}
	real := func(path string) string {
		path, err := filepath.EvalSymlinks(path)
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return ""
		}
		return path
	}
	from, to := real(dir), real(checkpoint)
	if from == "" || to == "" {
		return false
	}
	rel, err := filepath.Rel(from, to)
	return err == nil && filepath.IsLocal(rel)
}

// usable says whether a folder takes files or can be made, without making it.
func usable(dir string) error {
	info, err := os.Stat(dir)
	switch up := filepath.Dir(dir); {
	case (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) && up != dir:
		return usable(up)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is a file, want a folder", dir)
	}
	if err := access(dir); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

// takes says whether a file can be made at a path, before long work for it.
func takes(path string) error {
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		return fmt.Errorf("--out: %s is a folder, want a file", path)
	case err == nil && !info.Mode().IsRegular():
		return nil // ReplaceFile writes to it, and its folder stays as it is
	}
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("--out: %w: make the folder first", err)
	}
	if err := usable(dir); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// makeRoom puts an earlier run out of the way of a new one that has its name, so that nothing of it is overwritten: runs/a
// becomes runs/a.1, or the first number that is free. It returns the lock of the new folder.
func makeRoom(dir string, lock *checkpoint.Lock) (moved string, _ *checkpoint.Lock, err error) {
	if _, err := os.Stat(filepath.Join(dir, "metrics.jsonl")); err != nil && !isRunFolder(dir) {
		return "", lock, nil
	}
	defer lock.Release() // not before the folder has its new name, or another run could take it
	for n := 1; ; n++ {
		moved = fmt.Sprintf("%s.%d", dir, n)
		if _, err := os.Lstat(moved); errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	if runtime.GOOS == "windows" { // it renames no folder that holds an open file: that keeps the folder from a run that is quicker, too
		lock.Release()
	}
	if err := os.Rename(dir, moved); err != nil {
		return "", nil, fmt.Errorf("%s holds an earlier run, and it cannot be moved out of the way: %w", dir, err)
	}
	lock, err = checkpoint.Acquire(dir)
	return moved, lock, err
}
