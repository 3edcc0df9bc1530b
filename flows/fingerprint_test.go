package flows_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/synth"
)

// A run goes on with the same images in another folder, from another decoder, under the model's other spelling, and is refused others unless forced.
func TestOtherData(t *testing.T) {
	data := images(t)
	o := small(t, "cmc", data)
	o.Run.MaxSteps = 2
	o.Net.Model = "resnets18v1"
	run(t, o)
	o.Net.Model = "resnet18v1" // another spelling of the same model
	o.Run.Resume, o.Run.MaxSteps = "auto", 3
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(data, moved); err != nil {
		t.Fatal(err)
	}
	o.Data.Folder = moved
	run(t, o)
	if folders, err := os.ReadDir(o.Run.ModelPath); err != nil || len(folders) != 1 {
		t.Errorf("%d run folders, want 1: %v", len(folders), err)
	}
	turbo, err := flows.ReadState(filepath.Join(o.Run.ModelPath, flows.RunName(o)))
	if err != nil {
		t.Fatal(err)
	}
	var f flows.Fingerprint
	if err := json.Unmarshal(turbo.Meta["data"], &f); err != nil || f.Decoder != "go" || turbo.Step != 3 {
		t.Fatalf("step %d, %+v, %v", turbo.Step, f, err)
	}
	f.Decoder = "turbo"
	if turbo.Meta["data"], err = json.Marshal(f); err != nil {
		t.Fatal(err)
	}
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
