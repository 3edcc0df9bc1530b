package shard

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Any bytes are a shard whose samples all lie within it, or are refused.
func FuzzScan(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range []string{"a/1.jpg", "a/1.cls", "b.json", "b.png"} {
		w.WriteHeader(&tar.Header{Name: m, Size: 3, Mode: 0o644})
		w.Write([]byte("123"))
	}
	w.Close()
	if x, err := scan(bytes.NewReader(b.Bytes()), int64(b.Len())); err != nil || len(x.rows) != 2 { // else nothing below is looked at
		f.Fatalf("a whole tar: %v", err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:1500])
	f.Add([]byte{})
	f.Add(make([]byte, 1024))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := scan(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for i, r := range x.rows {
			if r.at < 0 || r.at+int64(r.size) > int64(len(data)) {
				t.Fatalf("sample %d (%s): %d bytes at %d of %d", i, x.key(i), r.size, r.at, len(data))
			}
		}
		var text bytes.Buffer
		if err := x.write(&text); err != nil {
			t.Fatal(err)
		}
		y, err := parseIndex(text.Bytes())
		if err != nil {
			t.Fatalf("its index is refused: %v", err)
		}
		for i := range x.rows {
			if x.key(i) != y.key(i) || x.label(i) != y.label(i) || x.rows[i].at != y.rows[i].at || x.exts[x.rows[i].ext] != y.exts[y.rows[i].ext] {
				t.Fatalf("sample %d changes in the index", i)
			}
		}
	})
}

// Any text is an index whose places lie within the shard, or is refused. The sum is made right, so that the fuzzer gets past it.
func FuzzIndex(f *testing.F) {
	x := &index{bytes: 9000, summed: true}
	x.add("a/1", "jpg", "3", 512, 100, 7)
	x.add("a\t%2", "ppm.zst", "", 2048, 100, 8)
	var b bytes.Buffer
	x.write(&b)
	f.Add(b.String())
	f.Add(magic + "\n9\t1\n9\t1\t-\t\tjpg\tx\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if at := strings.LastIndex(text, "sum\t"); at >= 0 {
			text = text[:at]
		}
		for _, candidate := range [][]byte{[]byte(text), summed(text)} {
			x, err := parseIndex(candidate)
			if err != nil {
				continue
			}
			for i, r := range x.rows {
				if r.at < 0 || r.at+int64(r.size) > x.bytes || x.key(i) == "\x00" {
					t.Fatalf("sample %d: %d bytes at %d of %d", i, r.size, r.at, x.bytes)
				}
			}
		}
	})
}

// Any folder with this manifest and these shards opens and reads, or is refused.
func FuzzManifest(f *testing.F) {
	f.Add(`{"format":"contraflow shards 1","classes":["a"],"splits":{"train":{"samples":1,"shards":[{"file":"t.tar","bytes":9,"samples":1,"sha256":""}]}}}`, magic+"\n9\t1\n0\t9\t-\t0\tjpg\tx\n", []byte("123456789"))
	f.Add(`{"format":"contraflow shards 1","splits":{"train":{"samples":-1}}}`, "", []byte(""))
	f.Add(`{"format":"contraflow shards 1","splits":{"train":{"samples":0,"shards":[{"file":"../x"}]}}}`, "", []byte(""))
	f.Fuzz(func(t *testing.T, manifest, idx string, data []byte) {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, ManifestName), []byte(manifest), 0o644)
		os.WriteFile(filepath.Join(dir, "t.tar"), data, 0o644)
		os.WriteFile(filepath.Join(dir, "t.tar.idx"), summed(idx), 0o644)
		s, err := Open(context.Background(), dir, "train")
		if err != nil {
			return
		}
		for i := range s.Len() {
			if l := s.Label(i); l >= len(s.Classes()) {
				t.Fatalf("label %d of %d classes", l, len(s.Classes()))
			}
			s.Read(context.Background(), i, nil)
		}
	})
}
