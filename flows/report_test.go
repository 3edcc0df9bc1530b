package flows_test

import (
	"context"
	"errors"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
)

// judged trains with kNN scores.
func judged(t *testing.T, o flows.Options) string {
	t.Helper()
	ctx := context.Background()
	r, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.WriteManifest([]string{"contraflow", "train", o.Method, "--nce_k", "16"}, map[string]flows.Setting{"nce_k": {Value: "16"}, "batch_size": {Value: "8"}}); err != nil {
		t.Fatal(err)
	}
	m, err := flows.NewMetrics(r.Dir, r.Start())
	if err != nil {
		t.Fatal(err)
	}
	r.Observe = m.Write
	j, err := flows.NewJudge(ctx, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = r.Train(ctx)
	for _, err := range []error{err, m.Close(), j.Finish(ctx, err)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return r.Dir
}

// A judged run leaves a line a score and a histogram an epoch; its report, that of a probe and a comparison need nothing from elsewhere,
// and say what is missing when the images are gone.
func TestReports(t *testing.T) {
	t.Parallel()
	ctx, data := context.Background(), images(t)
	var dirs []string
	for method, sections := range map[string][]string{"cmc": {"tower ab", "drawn negatives"}, "moco": {"Age of the queue", "keys of the queue"}} {
		o := small(t, method, data)
		o.Run.KNNEvery, o.Run.KNNImages, o.Run.TBPath, o.Run.Name = 1, 100, "", method
		dir := judged(t, o)
		dirs = append(dirs, dir)
		for file, want := range map[string]int{"knn.jsonl": 3, "similarities.jsonl": 2} { // before training, two epochs
			raw, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil || strings.Count(string(raw), "\n") != want {
				t.Errorf("%s: %s has %d lines, want %d (%v)", method, file, strings.Count(string(raw), "\n"), want, err)
			}
		}
		path, err := flows.WriteReport(ctx, dir, flows.ReportOptions{Images: 50})
		if err != nil {
			t.Fatal(err)
		}
		wants(t, path, append(sections, "kNN accuracy against wall time", "Similarities over time", "Confusion", "Nearest neighbours", "Perplexity 3.7.", "First-layer filters", "<span>--resume</span> <span>auto</span>")...)
		if _, err := flows.WriteReport(ctx, dir, flows.ReportOptions{Images: 50, DataFolder: data + "x"}); err == nil || !strings.Contains(err.Error(), "--data_folder") {
			t.Errorf("a named folder that is not there: %v", err)
		}
		wants(t, path, "Confusion") // the good page is still there
		if err := os.Rename(data, data+"x"); err != nil {
			t.Fatal(err)
		}
		gone, err := flows.WriteReport(ctx, dir, flows.ReportOptions{Images: 50, Out: filepath.Join(t.TempDir(), "r.html")})
		if err := errors.Join(err, os.Rename(data+"x", data)); err != nil {
			t.Fatal(err)
		}
		wants(t, gone, "No images could be judged", "First-layer filters")
	}
	res := probe(t, smallProbe(t, data, dirs[0]))
	path, err := flows.WriteReport(ctx, res.Dir, flows.ReportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, path, "Accuracy against wall time", "Confusion", "top-5")
	page := filepath.Join(t.TempDir(), "compare.html")
	if err := flows.CompareRuns(append(dirs, res.Dir), page); err != nil {
		t.Fatal(err)
	}
	wants(t, page, "Results", "kNN accuracy", ">cmc<", ">moco<")
	if _, err := flows.WriteReport(ctx, data, flows.ReportOptions{}); err == nil || !strings.Contains(err.Error(), "metrics.jsonl") {
		t.Errorf("a folder that is no run: %v", err)
	}

	out := filepath.Join(t.TempDir(), "near.png")
	found, err := flows.Retrieve(ctx, flows.RetrieveOptions{ModelPath: dirs[0], DataFolder: data, Index: []int{0, 5}, K: 4, Out: out})
	if err != nil || len(found) != 2 || len(found[0].Neighbours) != 4 || found[0].Neighbours[0].Similarity < found[0].Neighbours[3].Similarity {
		t.Fatalf("%+v %v", found, err)
	}
	// A training image is its own nearest neighbour.
	same, err := flows.Retrieve(ctx, flows.RetrieveOptions{ModelPath: dirs[0], DataFolder: data, Images: []string{found[0].Neighbours[2].Image}, K: 1, Out: out})
	if err != nil || same[0].Neighbours[0].Image != found[0].Neighbours[2].Image || same[0].Neighbours[0].Similarity < 0.9999 {
		t.Errorf("%+v %v", same, err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if img, err := png.Decode(f); err != nil || img.Bounds().Dx() < 300 {
		t.Errorf("the picture: %v", err)
	}
	emb, err := flows.EmbedFile(ctx, flows.EmbedOptions{ModelPath: dirs[0], DataFolder: data, Half: "val", Out: filepath.Join(t.TempDir(), "f.npy")})
	if err != nil || emb.Images != 12 || emb.Features != 512 || len(emb.Files) != 3 {
		t.Errorf("%+v %v", emb, err)
	}
	for want, o := range map[string]flows.EmbedOptions{"--layer 9": {Layer: 9, Out: "f.npy"}, "--out": {Out: "f.csv"}} {
		o.ModelPath, o.DataFolder, o.Half = dirs[0], data, "val"
		if _, err := flows.EmbedFile(ctx, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want a message with %q", err, want)
		}
	}
}

// wants checks that a page has sections and reaches nowhere.
// A loss has its method's unit: nats, or the distance of a prediction.
func TestLossUnits(t *testing.T) {
	var dirs []string
	for unit, manifest := range map[string]string{">nats<": `{"method":"cmc"}`, ">mean |p-v|<": `{"method":"predict","settings":{"predict_loss":{"value":"L1"}}}`,
		">mean (p-v)²<": `{"method":"predict","settings":{"predict_loss":{"value":"L2"}}}`} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "metrics.jsonl"), []byte(`{"step":0,"epoch":1,"loss":1}`+"\n"))
		put(t, filepath.Join(dir, "run.json"), []byte(manifest))
		page, err := flows.WriteReport(context.Background(), dir, flows.ReportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wants(t, page, unit)
		dirs = append(dirs, dir)
	}
	page := filepath.Join(t.TempDir(), "c.html")
	if err := flows.CompareRuns(append(dirs, dirs[0]), page); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	units := regexp.MustCompile(`>([^<>]*nats[^<>]*)<`).FindSubmatch(text)
	if units == nil || strings.Count(string(units[1]), ",") != 2 || strings.Count(string(units[1]), "p-v") != 2 {
		t.Errorf("three units are %q", units)
	}
}

func wants(t *testing.T, path string, sections ...string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sections {
		if !strings.Contains(string(raw), s) {
			t.Errorf("%s lacks %q", filepath.Base(path), s)
		}
	}
	for _, foreign := range []string{"<script", "src=\"http", "href=\"http", "@import", "url(http"} {
		if strings.Contains(string(raw), foreign) {
			t.Errorf("%s reaches outside: %q", path, foreign)
		}
	}
}
