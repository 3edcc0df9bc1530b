package flows

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// A long run at a constant rate has a report, and its steps take little memory, for there may be millions.
func TestRecordOfALongRun(t *testing.T) {
	const steps = 5000
	dir := t.TempDir()
	var lines bytes.Buffer
	for i := range steps {
		rank := ""
		if i%50 == 0 {
			rank = `"l_rank":7,`
		}
		fmt.Fprintf(&lines, `{"step":%d,"epoch":%d,"loss":%v,"l_loss":1.5,"l_prob":0.25,"ab_loss":2.5,"ab_prob":0.125,%s"lr":0.03,"images_per_s":100,"bad":0}`+"\n",
			i, 1+i/1000, 4+1/float64(i+1), rank)
	}
	if err := os.WriteFile(filepath.Join(dir, "metrics.jsonl"), lines.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	live := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := live()
	r, err := readRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	if each := (live() - before) / steps; each > 400 {
		t.Errorf("a step takes %d bytes", each)
	}
	if n := len(r.series("loss").Points); len(r.steps) != steps || n != 200 {
		t.Errorf("%d steps, %d points of the loss", len(r.steps), n)
	}
	for i, want := range map[int]bool{0: true, 49: false, 50: true} {
		if v, ok := r.value(r.steps[i], "l_rank"); ok != want || ok && v != 7 {
			t.Errorf("step %d: rank %v, %v", i, v, ok)
		}
	}
	if _, err := WriteReport(context.Background(), dir, ReportOptions{}); err != nil {
		t.Error(err)
	}
	runtime.KeepAlive(r)
}
