package flows_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/cifar"
	"github.com/contraflow/contraflow/stages"
)

// photo is the pixels of one made-up picture, RGB by rows.
func photo(seed, side int) []byte {
	pix := make([]byte, 0, 3*side*side)
	for y := range side {
		for x := range side {
			pix = append(pix, byte(seed*31+x*5), byte(seed*17+y*6), byte(seed*53+(x*y)/3))
		}
	}
	return pix
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// asFolder writes photos as PPM files, two classes of half each, training and validation.
func asFolder(t *testing.T, n, side int) string {
	t.Helper()
	dir := t.TempDir()
	for half, from := range map[string]int{"train": 0, "val": 1000} {
		for i := range n {
			put(t, filepath.Join(dir, half, fmt.Sprint(i*2/n), fmt.Sprintf("%03d.ppm", i)),
				append(fmt.Appendf(nil, "P6\n%d %d\n255\n", side, side), photo(from+i, side)...))
		}
	}
	return dir
}

// asSTL and asCIFAR write the same photos, in the same order, as binaries.
func asSTL(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for half, from := range map[string]int{"train": 0, "test": 1000, "unlabeled": 2000} {
		var x, y []byte
		for i := range n {
			p := photo(from+i, 96)
			for c := range 3 {
				for col := range 96 {
					for row := range 96 {
						x = append(x, p[(row*96+col)*3+c])
					}
				}
			}
			y = append(y, byte(1+i*2/n))
		}
		put(t, filepath.Join(dir, "stl10_binary", half+"_X.bin"), x)
		if half != "unlabeled" {
			put(t, filepath.Join(dir, "stl10_binary", half+"_y.bin"), y)
		}
	}
	return dir
}

func asCIFAR(t *testing.T, k cifar.Kind, n int) string {
	t.Helper()
	dir := t.TempDir()
	files := append(append([]string{}, k.Train...), k.Test...)
	per := n / len(k.Train)
	for f, name := range files {
		var raw []byte
		count, from := per, f*per
		if f == len(k.Train) {
			count, from = n, 1000
		}
		for i := range count {
			if k.Name == "CIFAR-100" {
				raw = append(raw, 7)
			}
			raw = append(raw, byte((from%1000+i)*2/n))
			p := photo(from+i, 32)
			for c := range 3 {
				for at := c; at < len(p); at += 3 {
					raw = append(raw, p[at])
				}
			}
		}
		put(t, filepath.Join(dir, k.Folder, name), raw)
	}
	return dir
}

// insdis trains a few steps and gives its metrics.
func insdis(t *testing.T, folder string, change func(*flows.Options)) string {
	t.Helper()
	o := small(t, "insdis", folder)
	o.Run.MaxSteps, o.Optim.BatchSize, o.Data.Aug = 3, 5, "CJ"
	if change != nil {
		change(&o)
	}
	return run(t, o)
}

// packed packs a data set and gives the folder.
func packed(t *testing.T, folder string, change func(*flows.PackOptions)) string {
	t.Helper()
	o := flows.DefaultPack
	o.Folder, o.Out, o.Decoder, o.Workers = folder, filepath.Join(t.TempDir(), "shards"), "go", 3
	if change != nil {
		change(&o)
	}
	if _, err := flows.Pack(context.Background(), o, t.Logf); err != nil {
		t.Fatal(err)
	}
	return o.Out
}

// The same pictures train to the same bits however they are stored.
func TestFormatsTrainAlike(t *testing.T) {
	t.Setenv("CONTRAFLOW_CACHE", t.TempDir())
	raw := func(o *flows.PackOptions) { o.Raw = true }
	folder := asFolder(t, 10, 32)
	shards := packed(t, folder, nil)
	server := httptest.NewServer(http.FileServer(http.Dir(shards)))
	t.Cleanup(server.Close)
	gz := filepath.Join(t.TempDir(), "{0..0}.tar.gz")
	zip(t, filepath.Join(shards, "train-000000.tar"), strings.Replace(gz, "{0..0}", "0", 1))
	drawn := images(t) // JPEG files
	for name, c := range map[string]struct{ folder, other string }{
		"STL-10":              {asFolder(t, 10, 96), asSTL(t, 10)},
		"CIFAR-10":            {folder, asCIFAR(t, cifar.CIFAR10, 10)},
		"CIFAR-100":           {folder, asCIFAR(t, cifar.CIFAR100, 10)},
		"shards":              {folder, shards},
		"raw shards":          {folder, packed(t, folder, raw)},
		"gzip":                {folder, gz},
		"shards of a server":  {folder, server.URL},
		"JPEG, shards":        {drawn, packed(t, drawn, nil)},
		"JPEG, parquet":       {drawn, asParquet(t, drawn)},
		"JPEG, raw shards":    {drawn, packed(t, drawn, raw)},
		"shards of shards":    {drawn, packed(t, packed(t, drawn, nil), nil)},
		"shards of raw CIFAR": {folder, packed(t, asCIFAR(t, cifar.CIFAR100, 10), raw)},
	} {
		t.Run(name, func(t *testing.T) {
			if got, want := loaded(t, c.other), loaded(t, c.folder); got != want {
				t.Errorf("views differ:\n%s\n%s", got, want)
			}
		})
	}
	if got, want := insdis(t, packed(t, drawn, raw), nil), insdis(t, drawn, nil); got != want {
		t.Errorf("metrics differ:\n%s\n%s", got, want)
	}
}

// loaded sums the bits of every view of two epochs of MoCo batches with mixture, and the labels.
func loaded(t *testing.T, folder string, change ...func(*flows.Options)) string {
	t.Helper()
	o := small(t, "moco", folder)
	o.Optim.BatchSize, o.Data.Aug, o.Data.Workers = 4, "CJ", 2
	o.Mix.On, o.Mix.GProb, o.Mix.RProb = true, 0.5, 0.5
	for _, c := range change {
		c(&o)
	}
	r, err := flows.PrepareLoading(o)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = r.EachBatch(context.Background(), func(b *stages.Batch) error {
		h := fnv.New64a()
		for _, v := range b.Views {
			binary.Write(h, binary.LittleEndian, v)
		}
		fmt.Fprintf(&out, "step %d: %v %v %x\n", b.Step, b.Index, b.Labels, h.Sum64())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// asParquet writes the files of a folder as Hugging Face does.
func asParquet(t *testing.T, folder string) string {
	t.Helper()
	type row struct {
		Image struct {
			Bytes []byte `parquet:"bytes,optional"`
			Path  string `parquet:"path,optional"`
		} `parquet:"image"`
		Label int64 `parquet:"label"`
	}
	dir := t.TempDir()
	for half, name := range map[string]string{"train": "train-00000-of-00001.parquet", "val": "test-00000-of-00001.parquet"} {
		var rows []row
		classes, err := os.ReadDir(filepath.Join(folder, half))
		if err != nil {
			t.Fatal(err)
		}
		for label, c := range classes {
			files, _ := filepath.Glob(filepath.Join(folder, half, c.Name(), "*"))
			for _, f := range files {
				r := row{Label: int64(label)}
				if r.Image.Bytes, err = os.ReadFile(f); err != nil {
					t.Fatal(err)
				}
				rows = append(rows, r)
			}
		}
		if err := pq.WriteFile(filepath.Join(dir, name), rows, pq.MaxRowsPerRowGroup(10), pq.Compression(&pq.Snappy)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func zip(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	w.Close()
	put(t, to, b.Bytes())
}

// STL-10 trains on its unlabeled images, alone or with the others; judging takes the labeled ones all the same.
func TestUnlabeled(t *testing.T) {
	dir := asSTL(t, 10)
	metrics := map[string]bool{}
	for _, split := range []string{"", "unlabeled", "train+unlabeled"} {
		metrics[loaded(t, dir, func(o *flows.Options) { o.Data.Split = split })] = true
	}
	if len(metrics) != 3 {
		t.Error("splits give the same images")
	}
	o := small(t, "insdis", dir)
	o.Data.Split, o.Run.MaxSteps = "train+unlabeled", 1
	r, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if total, _ := r.Steps(); total != 1 {
		t.Errorf("%d steps", total)
	}
	if !strings.Contains(r.Describe(), "20 images (STL-10)") {
		t.Errorf("it says %q", r.Describe())
	}
	m, err := flows.NewMonitor(r, 10, context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.KNN(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, set := range []*flows.FeatureSet{m.Train, m.Val} {
		for _, l := range set.Labels {
			if l < 0 {
				t.Fatal("an unlabeled image votes")
			}
		}
	}
}

// A class list keeps the same classes of every format.
func TestClassListOption(t *testing.T) {
	list := filepath.Join(t.TempDir(), "list.txt")
	put(t, list, []byte("1\n0\n"))
	folder := asFolder(t, 10, 32)
	put(t, filepath.Join(folder, "train", "2", "extra.ppm"), append([]byte("P6\n32 32\n255\n"), photo(77, 32)...))
	want := loaded(t, asFolder(t, 10, 32))
	if got := loaded(t, folder, func(o *flows.Options) { o.Data.ClassList = list }); got != want {
		t.Errorf("a folder with a third class: views differ:\n%s\n%s", got, want)
	}
	if got := loaded(t, asCIFAR(t, cifar.CIFAR100, 10), func(o *flows.Options) { o.Data.ClassList = list }); got != want {
		t.Errorf("CIFAR-100, two classes of which are listed: views differ:\n%s\n%s", got, want)
	}
	put(t, list, []byte("1\n0\nzebra\n"))
	for _, dir := range []string{folder, asCIFAR(t, cifar.CIFAR100, 10)} {
		o := small(t, "insdis", dir)
		o.Data.ClassList = list
		if _, err := flows.Prepare(o); err == nil || !strings.Contains(err.Error(), `"zebra"`) {
			t.Errorf("%s: got %v", dir, err)
		}
	}
}

// The comma between two places is the first one outside braces.
func TestTwoPatterns(t *testing.T) {
	o := flows.DefaultPack
	o.Folder, o.Out = images(t), filepath.Join(t.TempDir(), "packed")
	want, err := flows.Pack(context.Background(), o, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(o.Out, "{train,train}-000000.tar") + "," + filepath.Join(o.Out, "{val,val}-000000.tar")
	r, err := flows.Verify(context.Background(), folder, "", "go", nil, 2, func(flows.BadImage) {})
	if err != nil || r.Images["train"] != 2*want.Samples["train"] || r.Images["val"] != 2*want.Samples["val"] {
		t.Errorf("%v of %v, twice: %v", r.Images, want.Samples, err)
	}
}

// Two places with a comma between are the two halves.
func TestTwoFolders(t *testing.T) {
	both := asFolder(t, 10, 32)
	train, val := t.TempDir(), t.TempDir()
	for half, dir := range map[string]string{"train": train, "val": val} {
		if err := os.Rename(filepath.Join(both, half), filepath.Join(dir, half)); err != nil {
			t.Fatal(err)
		}
	}
	o := small(t, "insdis", train+","+val)
	o.Run.MaxSteps = 1
	r, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := flows.NewMonitor(r, 10, context.Background()); err != nil {
		t.Error(err)
	}
}
