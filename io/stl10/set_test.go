package stl10_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/stl10"
	"github.com/contraflow/contraflow/stages"
)

var _ stages.Dataset = (*stl10.Set)(nil)

// level is what the test images hold: it tells every pixel and channel apart.
func level(image, c, x, y int) byte { return byte(image*101 + c*61 + x*3 + y*7 + x*y) }

// write puts n images and their labels into dir.
func write(t *testing.T, dir, split string, from, n int) {
	t.Helper()
	var raw, labels []byte
	for i := range n {
		for c := range 3 {
			for x := range stl10.Side { // planes of columns
				for y := range stl10.Side {
					raw = append(raw, level(from+i, c, x, y))
				}
			}
		}
		labels = append(labels, byte(1+(from+i)%10))
	}
	for name, b := range map[string][]byte{split + "_X.bin": raw, split + "_y.bin": labels} {
		if split == "unlabeled" && strings.HasSuffix(name, "_y.bin") {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSplits(t *testing.T) {
	outer := t.TempDir()
	dir := filepath.Join(outer, "stl10_binary")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, ok := stl10.Find(outer); ok {
		t.Fatal("found in an empty folder")
	}
	write(t, dir, "train", 0, 3)
	write(t, dir, "test", 3, 2)
	write(t, dir, "unlabeled", 5, 4)
	if found, ok := stl10.Find(outer); !ok || found != dir {
		t.Fatalf("found %q, %v", found, ok)
	}
	for split, images := range map[string][]int{"train": {0, 1, 2}, "test": {3, 4}, "unlabeled": {5, 6, 7, 8}, "train+unlabeled": {0, 1, 2, 5, 6, 7, 8}} {
		s, err := stl10.Open(dir, split)
		if err != nil {
			t.Fatal(err)
		}
		if s.Len() != len(images) || len(s.Classes()) != 10 || s.Classes()[2] != "car" {
			t.Fatalf("%s: %d images of %v", split, s.Len(), s.Classes())
		}
		for i, image := range images {
			label := image % 10
			if image >= 5 {
				label = -1
			}
			if s.Label(i) != label {
				t.Errorf("%s: label %d of image %d, want %d", split, s.Label(i), i, label)
			}
			got, err := s.Read(context.Background(), i, make([]byte, 0, 7))
			if err != nil {
				t.Fatal(err)
			}
			want := []byte("P6\n96 96\n255\n")
			for y := range stl10.Side {
				for x := range stl10.Side {
					for c := range 3 {
						want = append(want, level(image, c, x, y))
					}
				}
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s: image %d differs", split, i)
			}
		}
	}
	s, err := stl10.Open(dir, "train+unlabeled")
	if err != nil || s.Name(4) != filepath.Join(dir, "unlabeled_X.bin")+":1" {
		t.Errorf("image 4 is %s, %v", s.Name(4), err)
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		file  string
		bytes []byte
		split string
		want  string
	}{
		{"", nil, "validation", "choose one of train, test"},
		{"", nil, "test", "no such file"},
		{"train_X.bin", make([]byte, 27649), "train", "train_X.bin: 27649 bytes"},
		{"train_X.bin", nil, "train", "train_X.bin: 0 bytes"},
		{"train_y.bin", []byte{1}, "train", "train_y.bin: 1 labels for the 2 images"},
		{"train_y.bin", []byte{1, 0}, "train", "label 0 of image 1"},
		{"train_y.bin", []byte{11, 1}, "train", "label 11 of image 0"},
		{"class_names.txt", []byte("cat dog"), "train", "2 class names"},
	} {
		dir := t.TempDir()
		write(t, dir, "train", 0, 2)
		if c.file != "" {
			if err := os.WriteFile(filepath.Join(dir, c.file), c.bytes, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		_, err := stl10.Open(dir, c.split)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %s: got %v, want %q", c.file, c.split, err, c.want)
		}
	}
}

// A file that shrinks while it is used is an error that names it.
func TestShrinks(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "train", 0, 2)
	s, err := stl10.Open(dir, "train")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "train_X.bin"), 30000); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(context.Background(), 1, nil); err == nil || !strings.Contains(err.Error(), "train_X.bin") {
		t.Errorf("got %v", err)
	}
	if _, err := s.Read(context.Background(), 0, nil); err != nil {
		t.Error(err)
	}
}
