package cifar_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/contraflow/contraflow/io/cifar"
)

// Any file either opens, and then every image reads, or is refused.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{}, 0, "", false)
	f.Add([]byte{3, 1}, 1, "", false)
	f.Add([]byte{19, 99}, 2, "", true)
	f.Add([]byte{19, 100}, 1, "a b", true)
	f.Fuzz(func(t *testing.T, raw []byte, images int, names string, hundred bool) {
		dir, k, file, size := t.TempDir(), cifar.CIFAR10, "batches.meta.txt", 3073
		if hundred {
			k, file, size = cifar.CIFAR100, "fine_label_names.txt", 3074
		}
		if images = min(max(images, 0), 4); images > 0 {
			raw = append(raw, make([]byte, max(0, images*size-len(raw)))...)
		}
		os.WriteFile(filepath.Join(dir, k.Test[0]), raw, 0o644)
		if names != "" {
			os.WriteFile(filepath.Join(dir, file), []byte(names), 0o644)
		}
		s, err := cifar.Open(dir, k, "test")
		if err != nil {
			return
		}
		for i := range s.Len() {
			if l := s.Label(i); l < 0 || l >= len(s.Classes()) {
				t.Fatalf("label %d of %d classes", l, len(s.Classes()))
			}
			if b, err := s.Read(context.Background(), i, nil); err != nil || len(b) != 13+3072 {
				t.Fatalf("image %d: %d bytes, %v", i, len(b), err)
			}
		}
	})
}
