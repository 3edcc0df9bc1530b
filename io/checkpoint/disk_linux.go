package checkpoint

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Create makes or truncates a file. Of a large one, all whole pieces go past the page cache where the file system allows it: what
// saves takes a core from what trains, and much of what it takes is for finding, filling and forgetting pages that nobody reads. The
// pictures that a run reads again and again also stay cached.
func (Disk) Create(name string) (WriteFile, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	return &direct{file: f}, nil
}

const (
	directPiece = 1 << 20
	// directAlign is what addresses, offsets and lengths are multiples of: the largest block of a disk in use.
	directAlign = 4096
)

// direct gathers what is written in pieces that a disk takes as they lie in memory.
type direct struct {
	file   *os.File
	piece  []byte // room on an aligned address; nil before the first write
	n      int    // bytes in it
	past   bool   // O_DIRECT is set
	refuse bool   // the file system does not do that
}

func (d *direct) Write(p []byte) (int, error) {
	if d.piece == nil {
		room := make([]byte, directPiece+directAlign)
		d.piece = room[-uintptr(unsafe.Pointer(unsafe.SliceData(room)))&(directAlign-1):][:directPiece]
	}
	for done := 0; done < len(p); {
		k := copy(d.piece[d.n:], p[done:])
		done, d.n = done+k, d.n+k
		if d.n < len(d.piece) {
			break
		}
		if err := d.flush(); err != nil {
			return done, err
		}
	}
	return len(p), nil
}

// flush writes what has been gathered, past the cache if it is a whole piece.
func (d *direct) flush() error {
	if d.n == 0 {
		return nil
	}
	if whole := d.n == len(d.piece); whole != d.past && !d.refuse {
		d.refuse = d.set(whole) != nil
	}
	rest := d.piece[:d.n]
	d.n = 0
	k, err := d.file.Write(rest)
	if d.past && errors.Is(err, unix.EINVAL) { // some file systems say so only now
		if err := d.set(false); err != nil {
			return err
		}
		d.refuse = true
		_, err = d.file.Write(rest[k:])
	}
	return err
}

// set switches O_DIRECT on or off.
func (d *direct) set(on bool) error {
	flags, err := unix.FcntlInt(d.file.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	flags &^= unix.O_DIRECT
	if on {
		flags |= unix.O_DIRECT
	}
	if _, err = unix.FcntlInt(d.file.Fd(), unix.F_SETFL, flags); err == nil {
		d.past = on
	}
	return err
}

// Sync makes everything written durable.
func (d *direct) Sync() error {
	if err := d.flush(); err != nil {
		return err
	}
	return d.file.Sync()
}

// Close writes what is left and closes the file.
func (d *direct) Close() error { return errors.Join(d.flush(), d.file.Close()) }
