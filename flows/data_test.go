package flows_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/cifar"
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

// The same pictures train to the same bits however they are stored.
func TestFormatsTrainAlike(t *testing.T) {
	for name, c := range map[string]struct {
		side int
		dir  func(t *testing.T) string
	}{
		"STL-10":    {96, func(t *testing.T) string { return asSTL(t, 10) }},
		"CIFAR-10":  {32, func(t *testing.T) string { return asCIFAR(t, cifar.CIFAR10, 10) }},
		"CIFAR-100": {32, func(t *testing.T) string { return asCIFAR(t, cifar.CIFAR100, 10) }},
	} {
		t.Run(name, func(t *testing.T) {
			want := insdis(t, asFolder(t, 10, c.side), nil)
			if got := insdis(t, c.dir(t), nil); got != want {
				t.Errorf("metrics differ:\n%s\n%s", got, want)
			}
		})
	}
}

// STL-10 trains on its unlabeled images, alone or with the others; judging takes the labeled ones all the same.
func TestUnlabeled(t *testing.T) {
	dir := asSTL(t, 10)
	metrics := map[string]bool{}
	for _, split := range []string{"", "unlabeled", "train+unlabeled"} {
		metrics[insdis(t, dir, func(o *flows.Options) { o.Data.Split = split })] = true
	}
	if len(metrics) != 3 {
		t.Error("splits train on the same images")
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
	want := insdis(t, asFolder(t, 10, 32), nil)
	if got := insdis(t, folder, func(o *flows.Options) { o.Data.ClassList = list }); got != want {
		t.Errorf("a folder with a third class: metrics differ:\n%s\n%s", got, want)
	}
	if got := insdis(t, asCIFAR(t, cifar.CIFAR100, 10), func(o *flows.Options) { o.Data.ClassList = list }); got != want {
		t.Errorf("CIFAR-100, two classes of which are listed: metrics differ:\n%s\n%s", got, want)
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
