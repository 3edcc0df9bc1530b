package shard_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/contraflow/contraflow/io/shard"
	"github.com/contraflow/contraflow/stages"
)

var _ stages.Dataset = (*shard.Set)(nil)

var ctx = context.Background()

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "shard-cache")
	if err != nil {
		panic(err)
	}
	os.Setenv("CONTRAFLOW_CACHE", dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// image is the bytes of sample i; lengths differ, and some straddle tar blocks.
func image(i int) []byte {
	b := bytes.Repeat([]byte{byte(i), byte(i >> 8), 0xFF}, 50+i*37%400)
	return binary.LittleEndian.AppendUint32(b, uint32(i))
}

// written writes two splits of n samples in shards of 12 KB.
func written(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shards")
	w, err := shard.Create(dir, []string{"ant", "bee", "cat"}, 12000, map[string]int{"short_side": 256})
	if err != nil {
		t.Fatal(err)
	}
	for s, split := range []string{"train", "val"} {
		if err := w.Split(split); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			label := (i + s) % 3
			if err := w.Add(shard.Sample{Name: fmt.Sprintf("%s/pic.%d.jpeg", []string{"ant", "bee", "c.at"}[label], i), Ext: "jpg", Label: label, Data: image(i + 1000*s)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func open(t *testing.T, where, split string) *shard.Set {
	t.Helper()
	s, err := shard.Open(ctx, where, split)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// same checks n samples by content, in any order of reading.
func same(t *testing.T, s *shard.Set, n, from int, label func(i int) int) {
	t.Helper()
	if s.Len() != n {
		t.Fatalf("%d samples, want %d", s.Len(), n)
	}
	for k := range n {
		i := (k*7 + 3) % n
		got, err := s.Read(ctx, i, make([]byte, 0, 700))
		if err != nil {
			t.Fatalf("%s: %v", s.Name(i), err)
		}
		if !bytes.Equal(got, image(from+i)) {
			t.Fatalf("sample %d (%s) differs", i, s.Name(i))
		}
		if s.Label(i) != label(i) {
			t.Errorf("sample %d (%s) has label %d, want %d", i, s.Name(i), s.Label(i), label(i))
		}
	}
}

func TestRoundTrip(t *testing.T) {
	dir := written(t, 41)
	for s, split := range []string{"train", "val"} {
		set := open(t, dir, split)
		same(t, set, 41, 1000*s, func(i int) int { return (i + s) % 3 })
		if fmt.Sprint(set.Classes()) != "[ant bee cat]" || set.Shards() < 5 {
			t.Errorf("classes %v in %d shards", set.Classes(), set.Shards())
		}
		for k := range set.Shards() {
			if name, compared, err := set.VerifyShard(ctx, k); err != nil || !compared {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if got := open(t, dir, "train").Name(2); got != filepath.Join(dir, "train-000000.tar")+":c.at/00000002_pic.jpg" {
		t.Errorf("sample 2 is %s", got)
	}
	if _, err := shard.Open(ctx, dir, "test"); err == nil || !strings.Contains(err.Error(), `no split "test": it has train, val`) {
		t.Errorf("a split that is not there: %v", err)
	}
	// Any reader of tar can read it: the members of a sample follow each other.
	f, err := os.Open(filepath.Join(dir, "train-000001.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := tar.NewReader(f)
	var names []string
	for range 4 {
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	for i := 0; i < 4; i += 2 {
		if names[i+1] != strings.TrimSuffix(names[i], "jpg")+"cls" {
			t.Errorf("members %v", names)
		}
	}
	again := written(t, 41)
	for _, name := range []string{"train-000002.tar", "shards.json", "val-000001.tar.idx"} {
		a, _ := os.ReadFile(filepath.Join(dir, name))
		b, _ := os.ReadFile(filepath.Join(again, name))
		if len(a) == 0 || !bytes.Equal(a, b) {
			t.Errorf("%s differs between two runs", name)
		}
	}
}

// foreign makes a tar as other programs do; members are name, content pairs.
func foreign(t *testing.T, format tar.Format, members ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		if strings.HasSuffix(members[i], "/") {
			w.WriteHeader(&tar.Header{Name: members[i], Typeflag: tar.TypeDir, Mode: 0o755})
			continue
		}
		if err := w.WriteHeader(&tar.Header{Name: members[i], Size: int64(len(members[i+1])), Mode: 0o600, Format: format}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(members[i+1]))
	}
	w.Close()
	return b.Bytes()
}

// pairs are n samples with members before and behind the image.
func pairs(n, from int, cls func(i int) string) (out []string) {
	for i := from; i < from+n; i++ {
		key := fmt.Sprintf("n%05d", i)
		out = append(out, key+".json", "{}", key+".png", string(image(i)))
		if c := cls(i); c != "" {
			out = append(out, key+".cls", c)
		}
		out = append(out, key+".txt", "a caption")
	}
	return out
}

func TestForeign(t *testing.T) {
	num := func(i int) string { return fmt.Sprintln(i % 4) }
	word := func(i int) string { return []string{"zebra", "ant", "moth"}[i%3] }
	none := func(int) string { return "" }
	for name, c := range map[string]struct {
		cls     func(int) string
		classes string
		label   func(int) int
	}{
		"numbers": {num, "[0 1 2 3]", func(i int) int { return i % 4 }},
		"words":   {word, "[ant moth zebra]", func(i int) int { return []int{2, 0, 1}[i%3] }},
		"none":    {none, "[]", func(int) int { return -1 }},
		"-1":      {func(i int) string { return fmt.Sprint(i%3 - 1) }, "[0 1]", func(i int) int { return i%3 - 1 }},
	} {
		for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
			dir := t.TempDir()
			for k, data := range [][]byte{foreign(t, format, pairs(5, 0, c.cls)...), foreign(t, format, append([]string{"./", ""}, pairs(6, 5, c.cls)...)...)} {
				os.WriteFile(filepath.Join(dir, fmt.Sprintf("imagenet-train-%03d.tar", k)), data, 0o644)
			}
			os.WriteFile(filepath.Join(dir, "imagenet-validation-000.tar"), foreign(t, format, pairs(4, 50, c.cls)...), 0o644)
			for range 2 { // the second time from the cache
				s := open(t, dir, "train")
				same(t, s, 11, 0, c.label)
				if fmt.Sprint(s.Classes()) != c.classes {
					t.Errorf("%s: classes %v", name, s.Classes())
				}
				same(t, open(t, dir, "val"), 4, 50, func(i int) int { return c.label(i + 50) })
				same(t, open(t, filepath.Join(dir, "imagenet-train-{000..001}.tar"), "anything"), 11, 0, c.label)
				same(t, open(t, filepath.Join(dir, "imagenet-train-*.tar"), "train"), 11, 0, c.label)
			}
		}
	}
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "train"), 0o755)
	os.WriteFile(filepath.Join(dir, "train", "a.tar"), foreign(t, tar.FormatPAX, "x/2.jpg", string(image(0)), "x/3.jpg", string(image(1)), "b.b/4.jpg", string(image(2)), "readme.txt", "no image"), 0o644)
	s := open(t, dir, "train")
	same(t, s, 3, 0, func(i int) int { return []int{1, 1, 0}[i] })
	if fmt.Sprint(s.Classes()) != "[b.b x]" {
		t.Errorf("classes of folders: %v", s.Classes())
	}
	if _, err := shard.Open(ctx, t.TempDir(), "train"); !errors.Is(err, shard.ErrNone) {
		t.Errorf("an empty folder: %v", err)
	}
}

// Names are cut at the first dot, as WebDataset does. A sample that has no image for that is an error; more images of a sample, and the
// hidden files of other systems, are not.
func TestDots(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tar")
	fine := []string{"x.d/a.seg.png", "mask", "x.d/a.jpg", string(image(0)), "x.d/._a.jpg", "mac", "._b.jpg", "mac"}
	os.WriteFile(path, foreign(t, tar.FormatPAX, fine...), 0o644)
	same(t, open(t, path, "train"), 1, 0, func(int) int { return 0 })
	for _, members := range [][]string{{"x.d/b.1.jpg", "b", "x.d/b.2.JPG", "b", "c.v2.ppm.zst", "c"}, {"b.1.cls", "1", "b.1.jpg", "b", "c.2.png", "c"}} {
		os.WriteFile(path, foreign(t, tar.FormatPAX, append(slices.Clone(fine), members...)...), 0o644)
		_, err := shard.Open(ctx, path, "train")
		if err == nil || !strings.HasPrefix(err.Error(), path+": 2 samples") || !strings.Contains(err.Error(), `b.1.jpg"`) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v", err)
		}
	}
}

// One flipped bit anywhere in an image is found, by the sample's sum and by the shard's.
func TestChecksums(t *testing.T) {
	dir := written(t, 12)
	path := filepath.Join(dir, "train-000000.tar")
	data, _ := os.ReadFile(path)
	at := bytes.Index(data, image(3)) + 40
	data[at] ^= 4
	os.WriteFile(path, data, 0o644)
	s := open(t, dir, "train")
	if _, err := s.Read(ctx, 3, nil); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("got %v", err)
	}
	if _, err := s.Read(ctx, 2, nil); err != nil {
		t.Error(err)
	}
	if name, _, err := s.VerifyShard(ctx, 0); err == nil || name != path || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("%s: %v", name, err)
	}
	for _, file := range []string{"train-000000.tar.idx", "shards.json"} {
		p := filepath.Join(dir, file)
		whole, _ := os.ReadFile(p)
		for name, text := range map[string][]byte{"cut": whole[:len(whole)*2/3], "empty": nil, "flipped": bytes.Replace(whole, []byte("1"), []byte("7"), 1)} {
			os.WriteFile(p, text, 0o644)
			if _, err := shard.Open(ctx, dir, "train"); err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s %s: got %v", name, file, err)
			}
		}
		os.WriteFile(p, whole, 0o644)
	}
	open(t, dir, "train")
}

// A member that is compressed by itself comes out as it was; a bomb is refused with its name and takes no memory.
func TestZstdMembers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "z")
	w, err := shard.Create(dir, nil, 1<<30, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Split("train")
	enc, _ := zstd.NewWriter(nil)
	for i := range 3 {
		w.Add(shard.Sample{Name: "x", Ext: "ppm.zst", Label: -1, Data: enc.EncodeAll(image(i), nil)})
	}
	var b bytes.Buffer
	big, _ := zstd.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range 300 {
		big.Write(zeros)
	}
	big.Close()
	w.Add(shard.Sample{Name: "bomb", Ext: "ppm.zst", Label: -1, Data: b.Bytes()})
	w.Add(shard.Sample{Name: "noise", Ext: "ppm.zst", Label: -1, Data: []byte("not zstd")})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, "train")
	for i := range 3 {
		if got, err := s.Read(ctx, i, nil); err != nil || !bytes.Equal(got, image(i)) || s.Label(i) != -1 {
			t.Errorf("sample %d: %v", i, err)
		}
	}
	if _, err := s.Read(ctx, 3, nil); err == nil || !strings.Contains(err.Error(), "bomb") || !strings.Contains(s.Name(3), "00000003_bomb.ppm.zst") {
		t.Errorf("%s: %v", s.Name(3), err)
	}
	if _, err := s.Read(ctx, 4, nil); err == nil || !strings.Contains(err.Error(), "damaged zstd") {
		t.Errorf("got %v", err)
	}
}

func TestWriterMistakes(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "mine"), nil, 0o644)
	if _, err := shard.Create(dir, nil, 1, nil); err == nil || !strings.Contains(err.Error(), "mine and 0 more") {
		t.Errorf("got %v", err)
	}
	w, err := shard.Create(filepath.Join(dir, "new"), []string{"a"}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Split("a/b"); err == nil {
		t.Error("a split with a slash")
	}
	w.Split("train")
	w.Add(shard.Sample{Name: "x", Ext: "jpg", Label: 5, Data: []byte("x")})
	w.Close()
	if _, err := shard.Open(ctx, filepath.Join(dir, "new"), "train"); err == nil || !strings.Contains(err.Error(), "1 classes") {
		t.Errorf("a label without a class: %v", err)
	}
	// A pack that is given up leaves an empty folder, which the next one takes.
	w, _ = shard.Create(filepath.Join(dir, "half"), nil, 1, nil)
	w.Split("train")
	w.Add(shard.Sample{Name: "x", Ext: "jpg", Label: -1, Data: []byte("x")})
	w.Add(shard.Sample{Name: "y", Ext: "jpg", Label: -1, Data: []byte("y")})
	w.Abort()
	if left, err := os.ReadDir(filepath.Join(dir, "half")); err != nil || len(left) > 0 {
		t.Errorf("an unfinished pack left %v, %v", left, err)
	}
	if _, err := shard.Open(ctx, filepath.Join(dir, "half"), "train"); !errors.Is(err, shard.ErrNone) {
		t.Errorf("an unfinished pack: %v", err)
	}
}

// Characters that mean something in patterns and addresses mean nothing in the name of a file that is there.
func TestOddPaths(t *testing.T) {
	plain := foreign(t, tar.FormatPAX, pairs(4, 0, func(i int) string { return fmt.Sprint(i % 2) })...)
	for _, name := range []string{"set[1]", "x{1}y", "q?", "st*r"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Skip(err)
		}
		path := filepath.Join(dir, "train-0.tar")
		if err := os.WriteFile(path, plain, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, where := range []string{dir, path} {
			s, err := shard.Open(ctx, where, "train")
			if err != nil {
				t.Errorf("%s: %v", where, err)
				continue
			}
			same(t, s, 4, 0, func(i int) int { return i % 2 })
		}
	}
}

func TestPatterns(t *testing.T) {
	for where, named := range map[string]bool{
		"/d/x.tar": true, "/d/{00..12}.tar.zst": true, "https://h/x.tar?sig=1": true, "https://h/{0..9}.tgz": true, "https://h/d": false, "/d": false, "x.tar.d": false,
	} {
		if shard.Named(where) != named {
			t.Errorf("Named(%q) is %v", where, !named)
		}
	}
	for _, where := range []string{"/d/{a.tar", "/d/{5..2}.tar", "/d/{0..99999999}.tar", "/d/{0..999}{0..9999}.tar", "/d/no-*.tar", "/d/{x..y}.tar"} {
		if _, err := shard.Open(ctx, where, "train"); err == nil || !strings.Contains(err.Error(), where) {
			t.Errorf("%s: got %v", where, err)
		}
	}
	files := []string{"008", "009", "010"}
	dir := t.TempDir()
	for i, n := range files {
		os.WriteFile(filepath.Join(dir, n+"-a.tar"), foreign(t, tar.FormatPAX, pairs(1, i, func(int) string { return "0" })...), 0o644)
	}
	s := open(t, filepath.Join(dir, "{008..010}-{a}.tar"), "")
	if s.Len() != 3 || !slices.Contains([]string{s.Name(2)}, filepath.Join(dir, "010-a.tar")+":n00002.png") {
		t.Errorf("%d samples, the last %s", s.Len(), s.Name(2))
	}
}
