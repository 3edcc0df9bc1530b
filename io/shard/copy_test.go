package shard_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/contraflow/contraflow/io/shard"
)

// compressed gives data as gzip or zstd.
func compressed(t *testing.T, ending string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if strings.HasSuffix(ending, "gz") {
		w := gzip.NewWriter(&b)
		w.Write(data)
		w.Close()
		return b.Bytes()
	}
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func TestCompressed(t *testing.T) {
	plain := foreign(t, tar.FormatPAX, pairs(7, 0, func(i int) string { return fmt.Sprint(i % 2) })...)
	for _, ending := range []string{".tar.gz", ".tgz", ".tar.zst"} {
		path := filepath.Join(t.TempDir(), "a"+ending)
		data := compressed(t, ending, plain)
		os.WriteFile(path, data, 0o644)
		for range 2 {
			s := open(t, path, "train")
			same(t, s, 7, 0, func(i int) int { return i % 2 })
			if !strings.HasPrefix(s.Name(0), path+":") {
				t.Errorf("sample 0 is %s", s.Name(0))
			}
		}
		bomb := filepath.Join(filepath.Dir(path), "bomb"+ending)
		os.WriteFile(bomb, compressed(t, ending, foreign(t, tar.FormatPAX, "x.jpg", strings.Repeat("x", 2<<20))), 0o644)
		if _, err := shard.Open(ctx, bomb, "train"); err == nil || !strings.Contains(err.Error(), bomb) || !strings.Contains(err.Error(), "decompression bomb") {
			t.Errorf("a bomb: got %v", err)
		}
		for name, damaged := range map[string][]byte{"truncated": data[:len(data)/2], "not": append([]byte("not"), data...)} {
			os.WriteFile(path, damaged, 0o644)
			if _, err := shard.Open(ctx, path, "train"); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%s %s: got %v", name, ending, err)
			}
		}
	}
}

// A shard may grow a hundredfold, and a small one further up to a fixed size; to that byte, and not one more.
func TestGrowth(t *testing.T) {
	noise := make([]byte, 30<<10)
	rand.NewChaCha8([32]byte{}).Read(noise)
	for name, image := range map[string]string{
		"less than a hundredfold": string(noise) + strings.Repeat("x", 2<<20), // of 30 KiB
		"small":                   strings.Repeat("x", 1<<19),
	} {
		path := filepath.Join(t.TempDir(), "a.tar.zst")
		os.WriteFile(path, compressed(t, ".zst", foreign(t, tar.FormatPAX, "x.jpg", image)), 0o644)
		if got, err := open(t, path, "train").Read(ctx, 0, nil); err != nil || string(got) != image {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	small := compressed(t, ".zst", noise)
	for limit, fits := range map[int]bool{len(noise): true, len(noise) - 1: false} {
		var out bytes.Buffer
		if err := shard.Decompress(&out, bytes.NewReader(small), false, int64(limit)); (err == nil) != fits || out.Len() > limit+1 {
			t.Errorf("%d bytes with a limit of %d: %d bytes, %v", len(noise), limit, out.Len(), err)
		}
	}
}

// A plain copy that was damaged is made anew, whether it is in use or found by the next run; the original is not blamed.
func TestDamagedCopy(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("CONTRAFLOW_CACHE", cache)
	plain := foreign(t, tar.FormatPAX, pairs(9, 0, func(i int) string { return fmt.Sprint(i % 2) })...)
	path := filepath.Join(t.TempDir(), "a.tar.gz")
	os.WriteFile(path, compressed(t, ".gz", plain), 0o644)
	label := func(i int) int { return i % 2 }
	used := open(t, path, "train")
	found, _ := filepath.Glob(filepath.Join(cache, "shards", "*.tar"))
	if len(found) != 1 {
		t.Fatalf("copies %v", found)
	}
	zeros := bytes.Clone(plain)
	clear(zeros[len(zeros)/3 : len(zeros)/2])
	for name, damage := range map[string]func() error{
		"zeros":    func() error { return os.WriteFile(found[0], zeros, 0o644) },
		"cut":      func() error { return os.Truncate(found[0], int64(len(plain)/2)) },
		"gone":     func() error { return os.Remove(found[0]) },
		"no index": func() error { return errors.Join(os.WriteFile(found[0], zeros, 0o644), os.RemoveAll(found[0]+".idx")) },
	} {
		for _, s := range []*shard.Set{used, nil} {
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			if s == nil {
				s = open(t, path, "train")
			}
			same(t, s, 9, 0, label)
			if got, _ := os.ReadFile(found[0]); !bytes.Equal(got, plain) {
				t.Errorf("%s: the copy was not made anew", name)
			}
		}
	}
	os.WriteFile(path, compressed(t, ".gz", zeros), 0o644)
	os.Remove(found[0])
	if _, err := used.Read(ctx, 0, nil); err == nil || !strings.Contains(err.Error(), path+" has changed since it was opened") {
		t.Errorf("another original: %v", err)
	}
}
