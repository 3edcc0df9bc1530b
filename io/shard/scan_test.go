package shard_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/shard"
)

// Every way of cutting a shard is refused, and names it.
func TestTruncated(t *testing.T) {
	data := foreign(t, tar.FormatPAX, pairs(4, 0, func(i int) string { return "1" })...)
	for n := range len(data) {
		if n%512 != 0 && n%97 != 0 {
			continue
		}
		path := filepath.Join(t.TempDir(), "cut.tar")
		os.WriteFile(path, data[:n], 0o644)
		if _, err := shard.Open(ctx, path, "train"); err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Fatalf("%d of %d bytes: got %v", n, len(data), err)
		}
	}
	dir := written(t, 20)
	path := filepath.Join(dir, "train-000001.tar")
	info, _ := os.Stat(path)
	s := open(t, dir, "train")
	os.Truncate(path, info.Size()/2)
	if _, err := shard.Open(ctx, dir, "train"); err == nil || !strings.Contains(err.Error(), path+": ") || !strings.Contains(err.Error(), "truncated") {
		t.Errorf("a shorter shard: %v", err)
	}
	bad := 0
	for i := range s.Len() {
		if _, err := s.Read(ctx, i, nil); err != nil {
			bad++
			if !strings.Contains(err.Error(), "truncated") || !strings.HasPrefix(s.Name(i), path) {
				t.Errorf("%s: %v", s.Name(i), err)
			}
		}
	}
	if bad == 0 {
		t.Error("a shard cut while in use was read to its end")
	}
	os.Remove(path)
	if _, err := shard.Open(ctx, dir, "train"); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a missing shard: %v", err)
	}
}

// Zeros where members were look like the end of the tar: they are refused. The zeros that writers fill up with are not.
func TestHoles(t *testing.T) {
	data := foreign(t, tar.FormatPAX, pairs(40, 0, func(i int) string { return "1" })...)
	read := func(data []byte) error {
		path := filepath.Join(t.TempDir(), "a.tar")
		os.WriteFile(path, data, 0o644)
		s, err := shard.Open(ctx, path, "train")
		if err == nil && s.Len() != 40 {
			t.Errorf("%d samples, want 40", s.Len())
		}
		if err != nil && (!strings.HasPrefix(err.Error(), path) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("got %v", err)
		}
		return err
	}
	for at := 4096; at < len(data)-11<<10; at += 4096 {
		for name, to := range map[string]int{"a hole": at + 4096, "zeros to the end": len(data)} {
			hole := bytes.Clone(data)
			clear(hole[at:to])
			if read(hole) == nil {
				t.Errorf("%s at byte %d of %d is not seen", name, at, len(data))
			}
		}
	}
	if read(append(bytes.Clone(data), data...)) == nil {
		t.Error("two tars in one file are read as one")
	}
	for _, fill := range []int{0, 512, 5120 - 512, 10240 - 512} { // Go and Rust, libarchive, pax and cpio, GNU and Python at most
		if err := read(append(bytes.Clone(data), make([]byte, fill)...)); err != nil {
			t.Errorf("%d zeros behind the end: %v", fill, err)
		}
	}
	if read(append(bytes.Clone(data), make([]byte, 10240)...)) == nil {
		t.Error("more zeros than any writer leaves are taken for the end of a whole tar")
	}
}
