package shard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// source is where the bytes of a shard are. It is safe for concurrent use.
type source interface {
	name() string
	size(ctx context.Context) (int64, error)
	// readAt fills p from a place. A source that is too short gives io.ErrUnexpectedEOF.
	readAt(ctx context.Context, p []byte, at int64) error
	// identity changes when the content does.
	identity(ctx context.Context) (string, error)
}

// file is a shard on disk. It is opened for every read: the system caches, and a thousand shards hold no descriptor.
type file string

func (f file) name() string { return string(f) }

func (f file) size(context.Context) (int64, error) {
	info, err := os.Stat(string(f))
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is not a regular file", string(f))
	}
	return info.Size(), nil
}

func (f file) identity(context.Context) (string, error) {
	info, err := os.Stat(string(f))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano()), nil
}

func (f file) readAt(_ context.Context, p []byte, at int64) error {
	h, err := os.Open(string(f))
	if err != nil {
		return err
	}
	defer h.Close()
	if n, err := h.ReadAt(p, at); n < len(p) {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// window makes an io.ReaderAt of a source for one goroutine that mostly reads ahead: it asks for pieces of its size.
type window struct {
	ctx   context.Context
	from  source
	total int64
	buf   []byte
	at    int64
	piece int
}

func (w *window) ReadAt(p []byte, at int64) (int, error) {
	done := 0
	for done < len(p) {
		if at >= w.total {
			return done, io.EOF
		}
		if at < w.at || at >= w.at+int64(len(w.buf)) {
			n := min(int64(w.piece), w.total-at)
			if int64(cap(w.buf)) < n {
				w.buf = make([]byte, n)
			}
			w.buf, w.at = w.buf[:n], at
			if err := w.from.readAt(w.ctx, w.buf, at); err != nil {
				w.buf = w.buf[:0]
				return done, err
			}
		}
		n := copy(p[done:], w.buf[at-w.at:])
		done += n
		at += int64(n)
	}
	return done, nil
}
