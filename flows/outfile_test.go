package flows_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
)

// A file that cannot be made is refused before the work for it, under its own name.
func TestOutOfNoFolder(t *testing.T) {
	ctx, data := context.Background(), images(t)
	o := small(t, "cmc", data)
	o.Run.MaxSteps, o.Run.Name = 1, "run"
	run(t, o)
	dir := filepath.Join(o.Run.ModelPath, "run")
	put(t, filepath.Join(data, "train", "00_disc", "00000.jpg"), []byte("no picture"))
	read := 0
	onBad := func(string, error) { read++ }
	out := filepath.Join(t.TempDir(), "none", "x")
	for who, err := range map[string]error{
		"retrieve": func() error {
			_, err := flows.Retrieve(ctx, flows.RetrieveOptions{ModelPath: dir, DataFolder: data, Index: []int{0}, K: 1, Out: out + ".png", Open: flows.Open{OnBad: onBad}})
			return err
		}(),
		"report": func() error {
			_, err := flows.WriteReport(ctx, dir, flows.ReportOptions{Images: 50, Out: out + ".html", OnBad: onBad})
			return err
		}(),
		"embed": func() error {
			_, err := flows.EmbedFile(ctx, flows.EmbedOptions{ModelPath: dir, DataFolder: data, Half: "train", Out: out + ".npy", Open: flows.Open{OnBad: onBad}})
			return err
		}(),
	} {
		if err == nil || !strings.Contains(err.Error(), "make the folder first") {
			t.Errorf("%s: %v", who, err)
		}
	}
	if read > 0 {
		t.Error("images were read before that")
	}
	if err := flows.Convert(dir, out+".pth", false); err == nil || !strings.Contains(err.Error(), out+".pth") || strings.Contains(err.Error(), ".tmp-") {
		t.Errorf("convert: %v", err)
	}
}
