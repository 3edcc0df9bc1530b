package flows_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/contraflow/contraflow/flows"
)

// A run that goes on drops the lines of steps that it does again, and an unfinished one; a line before them that cannot be read
// costs no other.
func TestMetricsOfAResumedRun(t *testing.T) {
	const head = "{\"step\":0}\nspoilt\n{\"step\":1}\n"
	for text, want := range map[string]string{
		head + "{\"step\":2}\nspoilt too\n{\"step\":3}\n": head,
		head + "{\"st": head,
		head:           head,
		"":             "",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "metrics.jsonl")
		put(t, path, []byte(text))
		m, err := flows.NewMetrics(dir, 2)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%q becomes %q, %v: want %q", text, got, err, want)
		}
	}
}
