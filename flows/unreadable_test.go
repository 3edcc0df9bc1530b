package flows_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/npz"
	"github.com/contraflow/contraflow/io/synth"
)

// An image that cannot be read has no row, is named once and counted, whatever judges: no other image's features stand under its
// index and label.
func TestUnreadableHasNoRow(t *testing.T) {
	t.Parallel()
	ctx, data := context.Background(), images(t)
	o := small(t, "cmc", data)
	o.Run.MaxSteps, o.Run.Name = 1, "run"
	run(t, o)
	dir := filepath.Join(o.Run.ModelPath, "run")
	var bad []string
	for _, half := range []string{"train", "val"} {
		path := filepath.Join(data, half, synth.ClassName(1), "00001.jpg")
		put(t, path, []byte("no picture"))
		bad = append(bad, path)
	}
	var told []string
	onBad := func(name string, err error) { told = append(told, name) }
	named := func(who string, want []string) {
		t.Helper()
		slices.Sort(told)
		if !slices.Equal(told, want) {
			t.Errorf("%s named %v, want %v", who, told, want)
		}
		told = nil
	}

	s, err := flows.ScoreKNN(ctx, dir, data, flows.DefaultKNN, flows.Open{OnBad: onBad})
	if err != nil || s.Train != 26 || s.Val != 11 || s.K != 26 || s.Bad != 2 {
		t.Errorf("knn: %+v %v", s, err)
	}
	named("knn", bad)

	none := 0.0
	if _, err := flows.ScoreKNN(ctx, dir, data, flows.DefaultKNN, flows.Open{BadSamples: &none}); err == nil || !strings.Contains(err.Error(), "more than --bad_samples 0") {
		t.Errorf("knn that allows none: %v", err)
	}

	out := filepath.Join(t.TempDir(), "f.npy")
	emb, err := flows.EmbedFile(ctx, flows.EmbedOptions{ModelPath: dir, DataFolder: data, Half: "val", Out: out, Open: flows.Open{OnBad: onBad}})
	if err != nil || emb.Images != 11 || emb.Bad != 1 {
		t.Fatalf("embed: %+v %v", emb, err)
	}
	named("embed", bad[1:])
	f, err := os.Open(strings.TrimSuffix(out, ".npy") + ".index.npy")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if index, err := npz.ReadArray(f); err != nil || index.Int(4) != 4 || index.Int(5) != 6 { // the second of four of class 1
		t.Errorf("embed: %v, row 5 has index %d, want 6", err, index.Int(5))
	}

	r := flows.RetrieveOptions{ModelPath: dir, DataFolder: data, Index: []int{4}, K: 26, Out: filepath.Join(t.TempDir(), "r.png"), Open: flows.Open{OnBad: onBad}}
	found, err := flows.Retrieve(ctx, r)
	if err != nil || len(found[0].Neighbours) != 26 || slices.ContainsFunc(found[0].Neighbours, func(n flows.Retrieval) bool { return n.Image == bad[0] }) {
		t.Errorf("retrieve: %+v %v", found, err)
	}
	named("retrieve", bad[:1])
	r.Index = []int{4, 5} // the second cannot be read
	if _, err := flows.Retrieve(ctx, r); err == nil || !strings.Contains(err.Error(), "--index: "+bad[1]) {
		t.Errorf("a query that cannot be read: %v", err)
	}
	told = nil

	page, err := flows.WriteReport(ctx, dir, flows.ReportOptions{Images: 50, OnBad: onBad})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, page, "kNN of 11 validation images among 26 training images", "Images that could not be read and are left out: 2.")
	named("report", bad)

	p, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.OnBad(func(name, by string, err error) { told = append(told, name) })
	m, err := flows.NewMonitor(p, 100, ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.KNN(ctx); err != nil || m.Train.Len() != 26 || m.Val.Len() != 11 {
		t.Errorf("while training: %d and %d rows, %v", m.Train.Len(), m.Val.Len(), err)
	}
	named("the monitor", bad)
}

// A probe neither trains on what stands in for an image that cannot be read nor scores it, whether features are cached or not.
func TestUnreadableInAProbe(t *testing.T) {
	t.Parallel()
	data, dir := encoderRun(t, "cmc")
	for _, half := range []string{"train", "val"} {
		put(t, filepath.Join(data, half, synth.ClassName(1), "00001.jpg"), []byte("no picture"))
	}
	o := smallProbe(t, data, dir)
	o.Augment = false
	plain := probe(t, o)
	record, err := os.ReadFile(filepath.Join(plain.Dir, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	var result struct{ Confusion [][]int }
	if err := json.Unmarshal(record, &result); err != nil {
		t.Fatal(err)
	}
	scored := 0
	for _, found := range slices.Concat(result.Confusion...) {
		scored += found
	}
	if plain.Bad != 1 || scored != 11 {
		t.Errorf("%d images scored, %d unreadable, want 11 and 1", scored, plain.Bad)
	}
	page, err := flows.WriteReport(context.Background(), plain.Dir, flows.ReportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, page, "Images that could not be read and are left out: 1.")
	o.Cache, o.SavePath = true, t.TempDir()
	cached := probe(t, o)
	for _, dir := range []string{plain.Dir, cached.Dir} {
		if lines, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl")); err != nil || bytes.Count(lines, []byte(`"bad":1}`)) != o.Epochs {
			t.Errorf("%v: want one unreadable image an epoch:\n%s", err, lines)
		}
	}
	if cached.Bad != 1 || !bytes.Equal(lastTensors(t, plain.Dir), lastTensors(t, cached.Dir)) {
		t.Errorf("cached features: %d unreadable, other parameters: %v", cached.Bad, !bytes.Equal(lastTensors(t, plain.Dir), lastTensors(t, cached.Dir)))
	}
	o.BadSamples = 0 // less than the probe that made the cache
	for _, cache := range []bool{true, false} {
		o.Cache = cache
		if _, err := flows.Probe(context.Background(), o); err == nil || !strings.Contains(err.Error(), "1 image could not be read, more than --bad_samples 0 of 27 allows") {
			t.Errorf("a probe that allows none, cached %v: %v", cache, err)
		}
	}
	o.BadSamples, o.Cache = 0.001, true
	r, err := flows.PrepareProbe(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	told := 0
	r.OnBad = func(string, error) { told++ }
	if res, err := r.Run(context.Background()); err != nil || res.Bad != 1 || told != 2 {
		t.Errorf("%+v, %d images named, %v", res, told, err)
	}
	o.BatchSize, o.SavePath = 1, t.TempDir() // a batch of nothing else
	if single := probe(t, o); single.Bad != 1 || math.IsNaN(single.LastTop1+single.TestLoss) {
		t.Errorf("batches of one image: %+v", single)
	}
}

// Labels are positions in the list of classes: halves whose lists differ are scored by nobody.
func TestHalvesOfOtherClasses(t *testing.T) {
	data := images(t)
	o := small(t, "cmc", data)
	o.Run.MaxSteps, o.Run.Name = 1, "run"
	run(t, o)
	if err := os.RemoveAll(filepath.Join(data, "val", synth.ClassName(0))); err != nil {
		t.Fatal(err)
	}
	want := synth.ClassName(0) + " only in train"
	p, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := flows.NewMonitor(p, 100, context.Background()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("--knn_every: %v", err)
	}
	if _, err := flows.ScoreKNN(context.Background(), filepath.Join(o.Run.ModelPath, "run.1"), data, flows.DefaultKNN, flows.Open{}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("knn: %v", err)
	}
}
