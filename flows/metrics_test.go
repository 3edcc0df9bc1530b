package flows

import (
	"os"
	"strings"
	"testing"
)

// A line that could not be written is told before the next checkpoint, though later ones could be: the file has no gaps.
func TestMetricsWriteFails(t *testing.T) {
	m, err := NewMetrics(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	write := func(step int) {
		r := &StepReport{}
		r.Plan.Step = step
		m.Write(r)
	}
	write(0)
	if err := m.Sync(); err != nil {
		t.Fatal(err)
	}
	file := m.f
	if m.f, err = os.Open(file.Name()); err != nil { // which cannot be written
		t.Fatal(err)
	}
	write(1)
	m.f.Close()
	m.f = file
	write(2)
	for name, err := range map[string]error{"Sync": m.Sync(), "Close": m.Close()} {
		if err == nil || !strings.Contains(err.Error(), file.Name()) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	text, err := os.ReadFile(file.Name())
	if err != nil || strings.Count(string(text), "\n") != 1 || !strings.Contains(string(text), `"step":0`) {
		t.Errorf("the file holds %q, %v", text, err)
	}
}
