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
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
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

// keep writes a file of the cache whole or not at all.
func keep(path string, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "part-*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Close())
	if err == nil {
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

// A shard may grow by this much when it is decompressed: more is taken for a bomb.
var (
	maxGrowth  = int64(100)
	freeGrowth = int64(256 << 20)
)

// plain is a shard itself, or the decompressed copy of one that is compressed as a whole.
func plain(ctx context.Context, s source) (source, error) {
	address, _, _ := strings.Cut(s.name(), "?")
	if strings.HasSuffix(address, ".tar") {
		return s, nil
	}
	path, err := cacheFile(ctx, s, ".tar")
	if err != nil {
		return nil, fmt.Errorf("%s: a compressed shard needs a folder for its plain copy: set CONTRAFLOW_CACHE: %w", s.name(), err)
	}
	if _, err := os.Stat(path); err == nil {
		return copied{file(path), s.name()}, nil
	}
	n, err := s.size(ctx)
	if err != nil {
		return nil, err
	}
	err = keep(path, func(to io.Writer) error {
		in := io.NewSectionReader(&window{ctx: ctx, from: s, total: n, piece: 4 << 20}, 0, n)
		return decompress(to, in, strings.HasSuffix(address, "gz"), max(freeGrowth, maxGrowth*n))
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name(), err)
	}
	return copied{file(path), s.name()}, nil
}

// decompress writes at most limit bytes.
func decompress(to io.Writer, from io.Reader, gz bool, limit int64) error {
	var r io.Reader
	if gz {
		z, err := gzip.NewReader(from)
		if err != nil {
			return fmt.Errorf("not gzip: %w", err)
		}
		r = z
	} else {
		z, err := zstd.NewReader(from, zstd.WithDecoderMaxWindow(256<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		defer z.Close()
		r = z
	}
	n, err := io.Copy(to, io.LimitReader(r, limit+1))
	if err != nil {
		return fmt.Errorf("truncated or damaged after %d decompressed bytes: %w", n, err)
	}
	if n > limit {
		return fmt.Errorf("it grows beyond %d bytes when decompressed, more than a hundredfold: taken for a decompression bomb", limit)
	}
	return nil
}

// copied is a plain copy that is called as what it was made from.
type copied struct {
	file
	original string
}

func (c copied) name() string { return c.original }
