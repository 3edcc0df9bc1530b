package flows_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
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

// A run of months goes on without its metrics in memory.
func TestMetricsOfALongRun(t *testing.T) {
	dir := t.TempDir()
	line := `{"step":1,"loss":"` + strings.Repeat("9", 100_000) + `"}` + "\n"
	put(t, filepath.Join(dir, "metrics.jsonl"), []byte(strings.Repeat(line, 100)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := flows.NewMetrics(dir, 2)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("to go on after 10 MB of lines took %d bytes", n)
	}
	if info, err := os.Stat(filepath.Join(dir, "metrics.jsonl")); err != nil || info.Size() != int64(100*len(line)) {
		t.Errorf("%v, %v: want %d bytes", info, err, 100*len(line))
	}
}
