package flows_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/synth"
)

// A run goes on with the same images in another folder or from another decoder, and is refused others unless forced.
func TestOtherData(t *testing.T) {
	data := images(t)
	o := small(t, "cmc", data)
	o.Run.MaxSteps = 2
	run(t, o)
	o.Run.Resume, o.Run.MaxSteps = "auto", 3
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(data, moved); err != nil {
		t.Fatal(err)
	}
	o.Data.Folder = moved
	run(t, o)
	turbo, err := flows.ReadState(filepath.Join(o.Run.ModelPath, flows.RunName(o)))
	if err != nil {
		t.Fatal(err)
	}
	turbo.Meta["data"] = []byte(strings.Replace(string(turbo.Meta["data"]), `"decoder":"`, `"decoder":"not `, 1))
	elsewhere, err := checkpoint.Save(checkpoint.Disk{}, t.TempDir(), turbo, checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	other := o
	other.Run.Resume, other.Run.ModelPath = elsewhere.Path, t.TempDir()
	r, err := flows.Prepare(other)
	if err != nil {
		t.Fatalf("another decoder, which gives the same pixels: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	first := filepath.Join(moved, "train", synth.ClassName(0), "00000.jpg")
	if err := os.Rename(first, filepath.Join(filepath.Dir(first), "zzzzz.jpg")); err != nil {
		t.Fatal(err)
	}
	_, err = flows.Prepare(o)
	if err == nil || !strings.Contains(err.Error(), "other images, or in another order") || strings.Contains(err.Error(), "\n") {
		t.Errorf("other names: got %v", err)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(first), "zzzzz.jpg")); err != nil {
		t.Fatal(err)
	}
	if _, err = flows.Prepare(o); err == nil || !strings.Contains(err.Error(), "had 27 images of 3 classes, has 26 of 3") {
		t.Errorf("an image less: got %v", err)
	}
}
