package shard

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// copied is the plain copy of a shard that is compressed as a whole. It is called as what it was made from. The index beside it has the
// sum of every image: what does not agree with it is made anew from the original.
type copied struct {
	file
	original source
	mu       sync.Mutex // of who makes it anew
}

func (c *copied) name() string { return c.original.name() }

// address is a name without a query, which files have none of.
func address(s source) string {
	if f, ok := s.(file); ok {
		return string(f)
	}
	a, _, _ := strings.Cut(s.name(), "?")
	return a
}

// compressed says whether a shard is compressed as a whole.
func compressed(s source) bool { return !strings.HasSuffix(address(s), ".tar") }

// plain finds the plain copy of a compressed shard and its index, or makes them.
func plain(ctx context.Context, s source) (*copied, *index, error) {
	path, err := cacheFile(ctx, s, ".tar")
	if err != nil {
		return nil, nil, fmt.Errorf("%s: a compressed shard needs a folder for its plain copy: set CONTRAFLOW_CACHE: %w", s.name(), err)
	}
	c := &copied{file: file(path), original: s}
	if text, err := os.ReadFile(path + ".idx"); err == nil {
		x, err := parseIndex(text)
		if info, statErr := os.Stat(path); err == nil && statErr == nil && info.Size() == x.bytes {
			return c, x, nil
		}
	}
	if err := c.unpack(ctx); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.name(), err)
	}
	x, err := c.list(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.name(), err)
	}
	_ = keep(path+".idx", x.write) // without it the copy is made anew the next time
	return c, x, nil
}

// unpack writes the copy.
func (c *copied) unpack(ctx context.Context) error {
	n, err := c.original.size(ctx)
	if err != nil {
		return err
	}
	return keep(string(c.file), func(to io.Writer) error {
		in := io.NewSectionReader(&window{ctx: ctx, from: c.original, total: n, piece: 4 << 20}, 0, n)
		return decompress(to, in, strings.HasSuffix(address(c.original), "gz"), max(freeGrowth, maxGrowth*n))
	})
}

// list makes the index of the copy, with sums.
func (c *copied) list(ctx context.Context) (*index, error) {
	n, err := c.size(ctx)
	if err != nil {
		return nil, err
	}
	w := &window{ctx: ctx, from: c.file, total: n, piece: 1 << 20}
	x, err := scan(w, n)
	if err != nil {
		return nil, err
	}
	x.summed = true
	buf := make([]byte, 64<<10)
	for i := range x.rows {
		r := &x.rows[i]
		h := crc32.New(castagnoli)
		if _, err := io.CopyBuffer(h, io.NewSectionReader(w, r.at, int64(r.size)), buf); err != nil {
			return nil, err
		}
		r.sum = h.Sum32()
	}
	return x, nil
}

// renew makes the copy anew unless check says that it is whole: another reader may have done it.
func (c *copied) renew(ctx context.Context, check func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if check() == nil {
		return nil
	}
	path, err := cacheFile(ctx, c.original, ".tar")
	if err == nil && path != string(c.file) {
		err = fmt.Errorf("%s has changed since it was opened", c.name())
	}
	if err == nil {
		err = c.unpack(ctx)
	}
	if err != nil {
		return fmt.Errorf("the plain copy of the shard is damaged and cannot be made anew: %w", err)
	}
	return check()
}

// A shard may grow by this much when it is decompressed: more is taken for a bomb.
var (
	maxGrowth  = int64(100)
	freeGrowth = int64(256 << 20)
)

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
