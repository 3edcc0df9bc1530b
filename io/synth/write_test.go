package synth_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/contraflow/contraflow/io/synth"
)

// A drawing that ends early leaves nothing that could be taken for a data set, and the folder that was there.
func TestWriteStopped(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	there := t.TempDir()
	o := synth.Options{Classes: 2, PerClass: 3, ValPerClass: 1, Size: 32, Extra: []string{"depth"}}
	for _, dir := range []string{there, filepath.Join(there, "new")} {
		if err := synth.Write(ctx, dir, o); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(there); err != nil || len(left) > 0 {
			t.Errorf("left behind in %s: %v %v", dir, left, err)
		}
	}
	if err := synth.Write(context.Background(), there, o); err != nil {
		t.Errorf("once more: %v", err)
	}
}
