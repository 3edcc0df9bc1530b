package cifar_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/cifar"
	"github.com/contraflow/contraflow/stages"
)

var _ stages.Dataset = (*cifar.Set)(nil)

// level is what the test images hold.
func level(image, c, p int) byte { return byte(image*101 + c*61 + p*7 + p/32) }

// write puts n images into every file of a kind, and gives the number of all.
func write(t *testing.T, dir string, k cifar.Kind, n int) {
	t.Helper()
	image := 0
	for _, name := range append(append([]string{}, k.Train...), k.Test...) {
		var raw []byte
		for range n {
			if k.Name == "CIFAR-100" {
				raw = append(raw, byte(image%20))
			}
			raw = append(raw, byte(image%10))
			for c := range 3 {
				for p := range 1024 {
					raw = append(raw, level(image, c, p))
				}
			}
			image++
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBoth(t *testing.T) {
	for _, k := range []cifar.Kind{cifar.CIFAR10, cifar.CIFAR100} {
		outer := t.TempDir()
		dir := filepath.Join(outer, k.Folder)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, dir, k, 3)
		found, kind, ok := cifar.Find(outer)
		if !ok || found != dir || kind.Name != k.Name {
			t.Fatalf("%s: found %q, %s, %v", k.Name, found, kind.Name, ok)
		}
		train, err := cifar.Open(dir, k, "train")
		if err != nil {
			t.Fatal(err)
		}
		test, err := cifar.Open(dir, k, "test")
		if err != nil {
			t.Fatal(err)
		}
		if train.Len() != 3*len(k.Train) || test.Len() != 3 {
			t.Fatalf("%s: %d and %d images", k.Name, train.Len(), test.Len())
		}
		image := 0
		for _, s := range []*cifar.Set{train, test} {
			for i := range s.Len() {
				if s.Label(i) != image%10 {
					t.Errorf("%s: label %d of image %d", k.Name, s.Label(i), image)
				}
				got, err := s.Read(context.Background(), i, nil)
				if err != nil {
					t.Fatal(err)
				}
				want := []byte("P6\n32 32\n255\n")
				for p := range 1024 {
					want = append(want, level(image, 0, p), level(image, 1, p), level(image, 2, p))
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s: image %d differs", k.Name, image)
				}
				image++
			}
		}
		if k.Name == "CIFAR-10" && train.Name(4) != filepath.Join(dir, "data_batch_2.bin")+":1" {
			t.Errorf("image 4 is %s", train.Name(4))
		}
		if train.Classes()[3] != "3" {
			t.Errorf("classes without names are %v", train.Classes())
		}
	}
}

func TestMistakes(t *testing.T) {
	k := cifar.CIFAR10
	for _, c := range []struct {
		file  string
		bytes []byte
		half  string
		want  string
	}{
		{"", nil, "unlabeled", "choose train or test"},
		{"data_batch_4.bin", nil, "train", "data_batch_4.bin: 0 bytes"},
		{"data_batch_5.bin", make([]byte, 3074), "train", "data_batch_5.bin: 3074 bytes"},
		{"test_batch.bin", append([]byte{10}, make([]byte, 3072)...), "test", "test_batch.bin: label 10 of image 0"},
		{"batches.meta.txt", []byte("cat dog"), "test", "2 class names"},
	} {
		dir := t.TempDir()
		write(t, dir, k, 1)
		if c.file != "" {
			if err := os.WriteFile(filepath.Join(dir, c.file), c.bytes, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		_, err := cifar.Open(dir, k, c.half)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %s: got %v, want %q", c.file, c.half, err, c.want)
		}
	}
	dir := t.TempDir()
	write(t, dir, k, 1)
	os.Remove(filepath.Join(dir, "data_batch_3.bin"))
	if _, err := cifar.Open(dir, k, "train"); err == nil || !strings.Contains(err.Error(), "data_batch_3.bin") {
		t.Errorf("a missing batch: got %v", err)
	}
	large := filepath.Join(dir, "test_batch.bin")
	if err := os.Truncate(large, 100_000*3073+1); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := cifar.Open(dir, k, "test") // other programs have a train.bin, of any size
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; err == nil || !strings.Contains(err.Error(), "not a whole number of records") || n > 16<<20 {
		t.Errorf("a large file: %v, and %d bytes were reserved", err, n)
	}
	write(t, dir, k, 1)
	names := ""
	for i := range 10 {
		names += fmt.Sprintf("name%d\n", i)
	}
	os.WriteFile(filepath.Join(dir, "batches.meta.txt"), []byte(names+"\n"), 0o644)
	if s, err := cifar.Open(dir, k, "test"); err != nil || s.Classes()[9] != "name9" {
		t.Errorf("class names: %v", err)
	}
}
