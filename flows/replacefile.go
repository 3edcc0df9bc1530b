package flows

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ReplaceFile writes beside path, syncs, and renames, so that an earlier file stays whole until the new one is. A link goes on
// leading to its file. What is no file, such as a device or a pipe, is written to.
func ReplaceFile(path string, write func(io.Writer) error) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return writeInto(path, write)
	}
	to := path
	if file, err := filepath.EvalSymlinks(path); err == nil {
		to = file
	}
	f, err := os.CreateTemp(filepath.Dir(to), ".tmp-"+filepath.Base(to)+"-*")
	if err != nil {
		if temp := (*fs.PathError)(nil); errors.As(err, &temp) { // nobody asked for a file of that name
			err = temp.Err
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	if err = buffered(f, write); err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), to)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeInto writes to a device or a pipe.
func writeInto(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(buffered(f, write), f.Close())
}

func buffered(f *os.File, write func(io.Writer) error) error {
	b := bufio.NewWriterSize(f, 1<<20)
	if err := write(b); err != nil {
		return err
	}
	return b.Flush()
}
