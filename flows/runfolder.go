package flows

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// within says whether a checkpoint that is there lies in a run folder, or is that folder.
func within(dir, checkpoint string) bool {
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
