package stl10_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/contraflow/contraflow/io/stl10"
)

// Any files either open, and then every image reads, or are refused.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{}, 0, []byte{}, "")
	f.Add([]byte{1, 2}, 2, []byte{1, 10}, "")
	f.Add([]byte{9}, 1, []byte{11}, "")
	f.Add([]byte{9}, 3, []byte{1, 2, 3}, "a b c d e f g h i j")
	f.Fuzz(func(t *testing.T, x []byte, images int, y []byte, names string) {
		dir := t.TempDir()
		if images = min(max(images, 0), 4); images > 0 {
			x = append(x, make([]byte, max(0, images*27648-len(x)))...)
		}
		os.WriteFile(filepath.Join(dir, "train_X.bin"), x, 0o644)
		os.WriteFile(filepath.Join(dir, "train_y.bin"), y, 0o644)
		if names != "" {
			os.WriteFile(filepath.Join(dir, "class_names.txt"), []byte(names), 0o644)
		}
		s, err := stl10.Open(dir, "train")
		if err != nil {
			return
		}
		for i := range s.Len() {
			if l := s.Label(i); l < 0 || l >= len(s.Classes()) {
				t.Fatalf("label %d of %d classes", l, len(s.Classes()))
			}
			if b, err := s.Read(context.Background(), i, nil); err != nil || len(b) != 13+27648 {
				t.Fatalf("image %d: %d bytes, %v", i, len(b), err)
			}
		}
	})
}
