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

// A run of very many epochs has a page that a browser can show.
func TestReportOfManyEpochs(t *testing.T) {
	dir := t.TempDir()
	var steps, knn, sims bytes.Buffer
	for e := range 2000 {
		fmt.Fprintf(&steps, `{"step":%d,"epoch":%d,"loss":1.5,"lr":0.03,"images_per_s":100,"bad":0}`+"\n", e, e+1)
		fmt.Fprintf(&steps, `{"step":%d,"epoch":%d,"train_acc":0.5,"train_acc5":0.75,"train_loss":1,"test_acc":0.5,"test_acc5":0.75,"test_loss":1,"seconds":%d}`+"\n", e, e+1, e)
		fmt.Fprintf(&knn, `{"step":%d,"epoch":%d,"knn":0.5,"seconds":%d,"k":200}`+"\n", e, e+1, e)
		fmt.Fprintf(&sims, `{"step":%d,"epoch":%d,"positive":[1],"negative":[1],"positive_mean":0.5,"negative_mean":0.1}`+"\n", e, e+1)
	}
	for name, text := range map[string]*bytes.Buffer{"metrics.jsonl": &steps, knnFile: &knn, similaritiesFile: &sims} {
		if err := os.WriteFile(filepath.Join(dir, name), text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := readRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range append(r.charts(), together([]*runRecord{r})...) {
		for _, s := range c.Series {
			if n := len(s.Points); n < 1 || n > epochPoints {
				t.Errorf("%s: %s has %d points", c.Title, s.Name, n)
			}
		}
	}
}
