package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// LockFile is the file in a run folder whose lock says that a run is writing there.
const LockFile = "lock"

// ErrInUse says that another run holds a folder.
var ErrInUse = errors.New("run folder is in use")

// Lock is a run's hold on its folder. The operating system drops it when the process ends, however it ends, so a lock
// left by a killed run is taken over without asking.
type Lock struct{ f *os.File }

// Acquire takes the run folder dir, making it if need be. When another run, of this process or another, has it, the
// error matches ErrInUse and says which process.
func Acquire(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("no run folder can be made there, choose one that can be written: %w", err)
	}
	path := filepath.Join(dir, LockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	taken, err := tryLock(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !taken {
		holder, _ := os.ReadFile(path)
		f.Close()
		return nil, fmt.Errorf("%s: %w by %s: stop that run or choose another folder", dir, ErrInUse, strings.TrimSpace(string(holder)))
	}
	if named, err := os.Stat(path); err != nil || !same(f, named) { // the folder got another name after we opened the file
		f.Close()
		return Acquire(dir)
	}
	host, _ := os.Hostname() // only for the message
	text := fmt.Sprintf("process %d on %s since %s\n", os.Getpid(), host, time.Now().Format(time.RFC3339))
	if err := errors.Join(f.Truncate(0), writeAt0(f, text)); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &Lock{f}, nil
}

// same says whether f is the file of that name.
func same(f *os.File, named os.FileInfo) bool {
	held, err := f.Stat()
	return err == nil && os.SameFile(held, named)
}

func writeAt0(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// Release gives the folder up. The file stays: removing it would let two runs lock two files of one name.
func (l *Lock) Release() error { return l.f.Close() }
