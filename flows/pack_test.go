package flows_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/jpeg"
)

func verify(t *testing.T, folder string) flows.VerifyReport {
	t.Helper()
	r, err := flows.Verify(context.Background(), folder, "", "go", nil, 2, func(flows.BadImage) {})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Packing leaves bad images out by name, makes progressive files baseline, scales; verify finds what a folder hides.
func TestPackAndVerify(t *testing.T) {
	folder := images(t)
	put(t, filepath.Join(folder, "train", "00_disc", "bad.jpg"), []byte("not an image"))
	progressive, err := os.ReadFile("../testdata/pixels/jpeg_progressive.jpg")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(folder, "val", "00_disc", "progressive.jpg"), progressive)
	if r := verify(t, folder); len(r.Bad) != 1 || r.Bad[0].Name != filepath.Join(folder, "train", "00_disc", "bad.jpg") || r.Err() == nil {
		t.Fatalf("the folder: %+v", r)
	}
	for _, splits := range [][]string{{""}, {"train", "train"}} {
		if _, err := flows.Verify(context.Background(), folder, "", "auto", splits, 0, func(flows.BadImage) {}); err == nil || !strings.Contains(err.Error(), "--splits") {
			t.Errorf("splits %q: %v", splits, err)
		}
	}
	o := flows.DefaultPack
	o.Folder, o.Out, o.Decoder, o.ShortSide, o.ShardMB = folder, filepath.Join(t.TempDir(), "out"), "go", 40, 1
	var said []string
	rep, err := flows.Pack(context.Background(), o, func(f string, a ...any) { said = append(said, fmt.Sprintf(f, a...)) })
	if err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 || !strings.Contains(said[0], "bad.jpg") || len(rep.Bad) != 1 {
		t.Errorf("it says %q", said)
	}
	if rep.Samples["train"] != 27 || rep.Samples["val"] != 13 || rep.Scaled != 40 {
		t.Errorf("%+v", rep)
	}
	if r := verify(t, o.Out); len(r.Bad) != 0 || r.Images["train"] != 27 || r.Shards != 2 {
		t.Errorf("the shards: %+v", r)
	}
	if r := verify(t, filepath.Join(o.Out, "*.tar")); r.Shards != 0 || len(r.Images) == 0 {
		t.Errorf("shards without a manifest: %+v", r)
	}
	none := o
	none.Out, none.BadSamples = filepath.Join(t.TempDir(), "none"), 0
	if _, err := flows.Pack(context.Background(), none, t.Logf); err == nil || !strings.Contains(err.Error(), "more than --bad_samples 0") {
		t.Errorf("a bad image where none is allowed: %v", err)
	}
	o.ShortSide, o.Out = 0, filepath.Join(t.TempDir(), "plain")
	if rep, err = flows.Pack(context.Background(), o, t.Logf); err != nil {
		t.Fatal(err)
	}
	if rep.Baselined+rep.Kept != 1 || rep.Scaled != 0 {
		t.Errorf("%+v", rep)
	}
	if _, err := jpeg.Baseline(progressive); err == nil && rep.Baselined != 1 {
		t.Error("a progressive file was kept")
	}
	for i := range 3 {
		put(t, filepath.Join(folder, "train", "00_disc", fmt.Sprintf("worse%d.jpg", i)), []byte{0xFF, 0xD8})
	}
	o.Out = filepath.Join(t.TempDir(), "none")
	if _, err := flows.Pack(context.Background(), o, t.Logf); err == nil || !strings.Contains(err.Error(), "more than --bad_samples 0.001 of 31 allows") {
		t.Errorf("a bad data set: %v", err)
	}
	if _, err := os.Stat(filepath.Join(o.Out, "shards.json")); err == nil {
		t.Error("a manifest was written all the same")
	}
}

// A server that refuses says nothing about images: none of them is called bad.
func TestVerifyOutage(t *testing.T) {
	o := flows.DefaultPack
	o.Folder, o.Out, o.Decoder = images(t), filepath.Join(t.TempDir(), "out"), "go"
	if _, err := flows.Pack(context.Background(), o, t.Logf); err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(o.Out))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".tar") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer s.Close()
	r, err := flows.Verify(context.Background(), s.URL, "", "go", nil, 2, func(b flows.BadImage) { t.Errorf("%s: %s", b.Name, b.Error) })
	if err == nil || !strings.Contains(err.Error(), "403 Forbidden") || len(r.Bad) > 0 {
		t.Errorf("got %v", err)
	}
	o.Folder, o.Out = s.URL, filepath.Join(t.TempDir(), "again")
	if _, err := flows.Pack(context.Background(), o, t.Logf); err == nil || !strings.Contains(err.Error(), "403 Forbidden") {
		t.Errorf("pack: %v", err)
	}
	if _, err := flows.DataStats(context.Background(), s.URL, "Lab", "go", 0); err == nil || !strings.Contains(err.Error(), "403 Forbidden") {
		t.Errorf("stats: %v", err)
	}
}

// A progressive file that decodes is never left out: what cannot be made baseline keeps its bytes, and a warning is no obstacle.
func TestPackOddProgressive(t *testing.T) {
	progressive, err := os.ReadFile("../testdata/pixels/jpeg_progressive.jpg")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jpeg.Baseline(progressive); err != nil {
		t.Skip(err)
	}
	scan := bytes.LastIndex(progressive, []byte{0xff, 0xda})
	unfinished := append(bytes.Clone(progressive[:scan]), 0xff, 0xd9)
	warned := slices.Concat(progressive[:scan], []byte{1, 2, 3}, progressive[scan:])
	folder := t.TempDir()
	put(t, filepath.Join(folder, "train", "a", "unfinished.jpg"), unfinished)
	put(t, filepath.Join(folder, "train", "a", "warned.jpg"), warned)
	put(t, filepath.Join(folder, "val", "a", "plain.jpg"), progressive)
	o := flows.DefaultPack
	o.Folder, o.Out = folder, filepath.Join(t.TempDir(), "out")
	rep, err := flows.Pack(context.Background(), o, t.Logf)
	if err != nil || len(rep.Bad) != 0 || rep.Baselined != 2 || rep.Kept != 0 {
		t.Errorf("%v, %+v", err, rep)
	}
	shard, err := os.ReadFile(filepath.Join(o.Out, "train-000000.tar"))
	if err != nil || !bytes.Contains(shard, unfinished) || bytes.Contains(shard, warned) {
		t.Errorf("%v; the unfinished file is kept: %v, the other: %v", err, bytes.Contains(shard, unfinished), bytes.Contains(shard, warned))
	}
}

// Any number of workers writes the same bytes.
func TestPackDeterminism(t *testing.T) {
	folder := images(t)
	var want string
	for _, workers := range []int{1, 2, 8} {
		dir := packed(t, folder, func(o *flows.PackOptions) { o.Workers, o.ShortSide = workers, 40 })
		got := ""
		for _, f := range []string{"shards.json", "train-000000.tar", "val-000000.tar.idx"} {
			raw, err := os.ReadFile(filepath.Join(dir, f))
			if err != nil {
				t.Fatal(err)
			}
			got += string(raw)
		}
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("%d workers write other shards", workers)
		}
	}
}

// What was packed is verified and packed again whole: a manifest tells its splits, those of other names too.
func TestPackEverySplit(t *testing.T) {
	for folder, splits := range map[string][]string{asSTL(t, 10): nil, images(t): {"val"}} {
		o := flows.DefaultPack
		o.Folder, o.Out, o.Splits = folder, filepath.Join(t.TempDir(), "once"), splits
		want, err := flows.Pack(context.Background(), o, t.Logf)
		if err != nil {
			t.Fatal(err)
		}
		r, err := flows.Verify(context.Background(), o.Out, "", "go", nil, 2, func(flows.BadImage) {})
		if err != nil || fmt.Sprint(r.Images) != fmt.Sprint(want.Samples) || r.Shards != want.Shards {
			t.Errorf("%v were packed, %v of %d shards verified: %v", want.Samples, r.Images, r.Shards, err)
		}
		o.Folder, o.Out, o.Splits = o.Out, filepath.Join(t.TempDir(), "twice"), nil
		if again, err := flows.Pack(context.Background(), o, t.Logf); err != nil || fmt.Sprint(again.Samples) != fmt.Sprint(want.Samples) {
			t.Errorf("%v were packed, %v packed again: %v", want.Samples, again.Samples, err)
		}
	}
}

func TestPackMistakes(t *testing.T) {
	folder, lacking := images(t), images(t)
	classes, err := os.ReadDir(filepath.Join(lacking, "val"))
	if err != nil {
		t.Fatal(err)
	}
	last := classes[len(classes)-1].Name()
	if err := os.RemoveAll(filepath.Join(lacking, "val", last)); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*flows.PackOptions){
		"--out is missing":      func(o *flows.PackOptions) { o.Out = "" },
		"--short_side -1":       func(o *flows.PackOptions) { o.ShortSide = -1 },
		"--quality 0":           func(o *flows.PackOptions) { o.Quality = 0 },
		"--shard_mb 0":          func(o *flows.PackOptions) { o.ShardMB = 0 },
		"--bad_samples 2":       func(o *flows.PackOptions) { o.BadSamples = 2 },
		"--data_folder":         func(o *flows.PackOptions) { o.Folder = "nowhere" },
		"is not empty":          func(o *flows.PackOptions) { o.Out = folder },
		last + " only in train": func(o *flows.PackOptions) { o.Folder = lacking },
		`"zebra"`:               func(o *flows.PackOptions) { o.Splits = []string{"zebra"} },
		"zebra":                 func(o *flows.PackOptions) { o.Splits = []string{"train", "zebra"} },
	} {
		o := flows.DefaultPack
		o.Folder, o.Out = folder, filepath.Join(t.TempDir(), "x")
		change(&o)
		_, err := flows.Pack(context.Background(), o, t.Logf)
		if err == nil || (!strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), strings.Trim(want, `"`))) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %q", err, want)
		}
		if _, err := os.Stat(o.Out); want != "is not empty" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a folder is left", want)
		}
	}
}
