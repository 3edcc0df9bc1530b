package flows

import (
	"context"
	"errors"
	"testing"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// farBank is rows on a device that counts how often they are read, and may fail to be read.
type farBank struct {
	ops.Bank
	reads  int
	failed error
}

func (f *farBank) NewBank(int, int) (ops.Bank, error) { return f, nil }
func (f *farBank) Write([]float32) error              { return nil }

func (f *farBank) Read([]float32) error {
	f.reads++
	return f.failed
}

// Similarities read a bank once, however many rows they look at; and what cannot be read ends the step, not only when it is scored
// but also when it is copied for a checkpoint.
func TestBankIsReadOnce(t *testing.T) {
	const n, d, batch = 50, 8, 4
	for method, reads := range map[string]int{"insdis": 1, "moco": 1, "cmc": 3} {
		o := Defaults(method)
		o.Loss.K, o.Loss.Graph = 40, "full"
		var bank objective
		var err error
		switch method {
		case "insdis":
			bank, err = NewInsDis(o, n, d)
		case "moco":
			bank, err = NewMoCo(o, n, d)
		default:
			bank, err = NewCMC(o, []string{"a", "b", "c"}, n, d)
		}
		if err != nil {
			t.Fatal(err)
		}
		far := &farBank{}
		if err := bank.(interface{ moveTo(ops.Banker) error }).moveTo(far); err != nil {
			t.Fatal(err)
		}
		f := &stages.Features{Batch: &stages.Batch{Plan: stages.Plan{Index: []int{3, 1, 4, 2}}}}
		for range 3 {
			f.Out = append(f.Out, make([]float32, batch*d))
		}
		s := &stages.Scores{Features: f}
		if h, err := similaritiesOf(bank, s); err != nil || far.reads != reads || h.Positive[simBins/2] == 0 {
			t.Errorf("%s: the bank is read %d times, want %d: %v, %v", method, far.reads, reads, h, err)
		}
		far.failed = errors.New("the device is gone")
		if err := (&watchedObjective{objective: bank}).Score(s); !errors.Is(err, far.failed) {
			t.Errorf("%s: a batch that is looked at: got %v", method, err)
		}
		f.Snapshot = &stages.Snapshot{}
		if _, err := (&stages.Contrast{Objective: bank}).Run(context.Background(), f); !errors.Is(err, far.failed) {
			t.Errorf("%s: a snapshot: got %v", method, err)
		}
	}
}

// A bank that cannot be read leaves no checkpoint with old rows.
func TestSaveWithoutBank(t *testing.T) {
	m, err := NewMoCo(Defaults("moco"), 50, 8)
	if err != nil {
		t.Fatal(err)
	}
	far := &farBank{}
	if err := m.moveTo(far); err != nil {
		t.Fatal(err)
	}
	r := &Run{Dir: t.TempDir(), objective: m}
	if err := r.saveNow(stages.Plan{Step: 3, Epoch: 1}); err != nil {
		t.Fatal(err)
	}
	far.failed = errors.New("the device is gone")
	if err := r.saveNow(stages.Plan{Step: 4, Epoch: 1}); !errors.Is(err, far.failed) {
		t.Errorf("got %v", err)
	}
	if list, err := checkpoint.List(checkpoint.Disk{}, r.Dir); err != nil || len(list) != 1 || list[0].Step != 3 {
		t.Errorf("there are checkpoints %v, %v", list, err)
	}
}
