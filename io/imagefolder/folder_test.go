package imagefolder_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/imagefolder"
	"github.com/contraflow/contraflow/stages"
)

var _ stages.Dataset = (*imagefolder.Folder)(nil)

func tree(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		p := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, "/") {
			continue
		}
		if err := os.WriteFile(p, []byte(f), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOrder(t *testing.T) {
	dir := tree(t, "b/2.JPG", "b/10.png", "b/note.txt", "a/z.jpeg", "a/sub/a.webp", "a/sub/deep/b.bmp", "a/sub-b/c.png", "a/sub.c/d.png", "B/x.tiff", "stray.jpg", ".git/x.jpg")
	f, err := imagefolder.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"B/x.tiff", "a/z.jpeg", "a/sub/a.webp", "a/sub-b/c.png", "a/sub.c/d.png", "a/sub/deep/b.bmp", "b/10.png", "b/2.JPG"}
	labels := []int{0, 1, 1, 1, 1, 1, 2, 2}
	if f.Len() != len(want) {
		t.Fatalf("%d images, want %d", f.Len(), len(want))
	}
	for i, w := range want {
		if f.Name(i) != filepath.Join(dir, w) || f.Label(i) != labels[i] {
			t.Errorf("image %d is %s of class %d, want %s of %d", i, f.Name(i), f.Label(i), w, labels[i])
		}
		if b, err := f.Read(context.Background(), i, nil); err != nil || string(b) != w {
			t.Errorf("image %d reads %q, %v", i, b, err)
		}
	}
}

func TestMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		dir  string
		only []string
		want string
	}{
		"missing":  {dir: filepath.Join(t.TempDir(), "no"), want: "no such folder: images are read from <folder>/<class>/"},
		"no val":   {dir: filepath.Join(t.TempDir(), "val"), want: "no such folder: images are read from <data_folder>/val/<class>/"},
		"a file":   {dir: filepath.Join(tree(t, "x.jpg"), "x.jpg"), want: "is a file"},
		"empty":    {dir: tree(t), want: "no sub-folder"},
		"no image": {dir: tree(t, "a/x.jpg", "b/x.txt"), want: "b holds no image"},
		"class":    {dir: tree(t, "a/x.jpg", "b/x.jpg"), only: []string{"a", "q"}, want: `no folder for class "q"`},
	} {
		_, err := imagefolder.Open(c.dir, c.only)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", name, err, c.want)
		}
		if absent := strings.Contains(c.want, "no such folder"); errors.Is(err, os.ErrNotExist) != absent {
			t.Errorf("%s: %v counts as a folder that is not there: %v", name, err, !absent)
		}
	}
}

// A link back to a folder on the way is refused; the same folder twice, beside each other, is not.
func TestLinks(t *testing.T) {
	for target, images := range map[string]int{".": 0, "..": 0, "../..": 0, "sub": 4} {
		dir := tree(t, "a/x.jpg", "a/sub/y.jpg", "b/x.jpg")
		for _, name := range []string{"l1", "l2"} {
			if err := os.Symlink(target, filepath.Join(dir, "a", name)); err != nil {
				t.Skip(err)
			}
		}
		f, err := imagefolder.Open(dir, nil)
		if images == 0 && (err == nil || !strings.Contains(err.Error(), "leads back to a folder that it lies in")) {
			t.Errorf("a link to %s: got %v", target, err)
		}
		if images > 0 && (err != nil || f.Len() != images+1) {
			t.Errorf("a link to %s: %v", target, err)
		}
	}
}

// A class behind a link that leads nowhere, to a disk that is not mounted, is not passed over.
func TestLostClass(t *testing.T) {
	dir := tree(t, "a/x.jpg", "b/x.jpg")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "c")); err != nil {
		t.Skip(err)
	}
	if _, err := imagefolder.Open(dir, nil); err == nil || !strings.Contains(err.Error(), "c is a link that leads nowhere") || errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if f, err := imagefolder.Open(dir, []string{"a", "b"}); err != nil || f.Len() != 2 {
		t.Errorf("of the other classes: %v", err)
	}
}

// A file with holes may be larger than the memory: it is refused before anything is reserved.
func TestHugeFile(t *testing.T) {
	dir := tree(t, "a/x.jpg", "b/x.jpg")
	if err := os.Truncate(filepath.Join(dir, "a/x.jpg"), 1<<40); err != nil {
		t.Skip(err)
	}
	f, err := imagefolder.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read(context.Background(), 0, nil); err == nil || !strings.Contains(err.Error(), "more than the 1073741824 that are read") {
		t.Errorf("got %v", err)
	}
}

// An image that is gone since the folder was listed, or holds nothing, is an error of its own.
func TestUnreadable(t *testing.T) {
	dir := tree(t, "a/x.jpg", "b/x.jpg")
	f, err := imagefolder.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(filepath.Join(dir, "a/x.jpg")), os.Truncate(filepath.Join(dir, "b/x.jpg"), 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read(context.Background(), 0, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is gone: %v", err)
	}
	if _, err := f.Read(context.Background(), 1, nil); err == nil || err.Error() != "the file is empty" {
		t.Errorf("an empty file: %v", err)
	}
}

func TestOneClass(t *testing.T) {
	f, err := imagefolder.Open(tree(t, "a/x.jpg", "a/y.jpg"), nil)
	if !errors.Is(err, imagefolder.ErrOneClass) || f == nil || f.Len() != 2 {
		t.Fatalf("got %v, %v", f, err)
	}
}

func TestClassList(t *testing.T) {
	f, err := imagefolder.Open(tree(t, "a/x.jpg", "b/x.jpg", "c/x.jpg"), []string{"c", "a"})
	if err != nil || strings.Join(f.Classes(), " ") != "a c" {
		t.Fatalf("got %v, %v", f.Classes(), err)
	}
}
