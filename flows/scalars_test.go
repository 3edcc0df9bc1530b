package flows

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/contraflow/contraflow/stages"
)

// An epoch whose last step was left out before it was scored has its averages in TensorBoard all the same.
func TestScalarsAfterASkippedStep(t *testing.T) {
	o := Defaults("moco")
	o.Run.TBPath, o.Run.Name = t.TempDir(), "run"
	s, err := NewScalars(o)
	if err != nil {
		t.Fatal(err)
	}
	var a Averages
	a.Add(&stages.Report{Plan: stages.Plan{Epoch: 1, Of: 2}, Samples: 4, Loss: 3, Values: []stages.Value{{Name: "ins_loss", V: 3}, {Name: "ins_prob", V: 0.5}}})
	last := &stages.Report{Plan: stages.Plan{Epoch: 1, Step: 1, Batch: 1, Of: 2}, Samples: 4, Skipped: true}
	a.Add(last)
	s.Epoch(last, a)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(o.Run.TBPath, "run", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	events, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"ins_loss", "ins_prob", "learning_rate"} {
		if !bytes.Contains(events, []byte(tag)) {
			t.Errorf("no %s in %q", tag, events)
		}
	}
}
