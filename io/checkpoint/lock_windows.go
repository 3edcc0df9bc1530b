package checkpoint

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock is LockFileEx without waiting, on a byte far behind the text so that others can read who holds it.
func tryLock(f *os.File) (bool, error) {
	at := windows.Overlapped{Offset: math.MaxInt32}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}
