package shard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// rules counts the changes of scan: what was kept under older ones is not taken.
const rules = 2

// cacheFile is where something about a source is kept, by its name and content.
func cacheFile(ctx context.Context, s source, ending string) (string, error) {
	dir := os.Getenv("CONTRAFLOW_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(user, "contraflow")
	}
	dir = filepath.Join(dir, "shards")
	id, err := s.identity(ctx)
	if err != nil {
		return "", err
	}
	name := s.name()
	if _, ok := s.(file); ok {
		if name, err = filepath.Abs(name); err != nil {
			return "", err
		}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s\x00%s", rules, name, id))
	return filepath.Join(dir, hex.EncodeToString(sum[:16])+ending), nil
}

// keep writes a file of the cache whole or not at all, also when the power fails.
func keep(path string, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "part-*")
	if err != nil {
		return err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// scanned is the index of a shard that has none: kept from an earlier time, or made by reading the headers.
func scanned(ctx context.Context, s source) (*index, error) {
	n, err := s.size(ctx)
	if err != nil {
		return nil, err
	}
	path, pathErr := cacheFile(ctx, s, ".idx")
	if pathErr == nil {
		if text, err := os.ReadFile(path); err == nil {
			if x, err := parseIndex(text); err == nil && x.bytes == n {
				return x, nil
			}
		}
	}
	piece := 64 << 10
	if _, ok := s.(*remote); ok {
		piece = 1 << 20
	}
	x, err := scan(&window{ctx: ctx, from: s, total: n, piece: piece}, n)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name(), err)
	}
	if pathErr == nil {
		_ = keep(path, x.write) // a cache that cannot be written costs time only
	}
	return x, nil
}
