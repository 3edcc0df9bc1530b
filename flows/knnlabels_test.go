package flows_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
)

// Training takes images without a class; kNN scores while training, which need them all, are refused before the first step.
func TestKNNOfImagesWithoutClass(t *testing.T) {
	shards, dir := packed(t, images(t), nil), t.TempDir()
	for _, name := range []string{"train-000000.tar", "val-000000.tar"} {
		unlabelled(t, filepath.Join(shards, name), filepath.Join(dir, name), map[string]string{"train-000000.tar": "00000000_00000.cls"}[name])
	}
	o := small(t, "insdis", dir)
	o.Run.MaxSteps = 1
	run(t, o)
	o.Run.KNNEvery, o.Run.ModelPath = 1, t.TempDir()
	r, err := flows.Prepare(o)
	if err == nil {
		r.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "--knn_every") || !strings.Contains(err.Error(), "has no class: judging needs labels") {
		t.Errorf("got %v", err)
	}
}

// unlabelled copies a shard without the label whose member's name ends so.
func unlabelled(t *testing.T, from, to, ending string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	r, w := tar.NewReader(in), tar.NewWriter(out)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if ending != "" && strings.HasSuffix(h.Name, ending) {
			continue
		}
		err = w.WriteHeader(h)
		if err == nil {
			_, err = io.Copy(w, r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
