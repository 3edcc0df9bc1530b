package flows_test

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/synth"
	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

// scenes draws a small data set with depth and normals.
func scenes(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	o := synth.Options{Classes: 3, PerClass: 9, ValPerClass: 4, Size: 48, Seed: 5, Extra: []string{"depth", "normals"}}
	if err := synth.Write(context.Background(), dir, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

// many are options of a run with four views.
func many(t *testing.T, graph, data string) flows.Options {
	o := small(t, "cmc", data)
	o.Data.ViewDirs, o.Loss.Graph, o.Loss.Softmax = "depth,normals", graph, true
	return o
}

func sidePath(data, view string, class, i int) string {
	return filepath.Join(data, view, "train", synth.ClassName(class), fmt.Sprintf("%05d.png", i))
}

// The losses of M views are those of the paper, recomputed in float64: every pair of the graph in both directions, a pair of
// which a sample lacks a view left out of the mean.
func TestGraphLosses(t *testing.T) {
	const n, rows, d, k, views, temperature = 5, 12, 6, 7, 4, 0.5
	r := rand.New(rand.NewPCG(3, 4))
	unit := func(n int) []float32 {
		out := make([]float32, n*d)
		for i := range n {
			var sum float64
			for j := range d {
				v := r.NormFloat64()
				out[i*d+j] = float32(v)
				sum += v * v
			}
			for j := range d {
				out[i*d+j] /= float32(math.Sqrt(sum))
			}
		}
		return out
	}
	batch := &stages.Batch{Plan: stages.Plan{Index: []int{7, 2, 0, 11, 5}}, Present: [][]bool{nil, nil, {true, false, true, true, false}, {false, true, true, true, true}}}
	var out [][]float32
	for range views {
		out = append(out, unit(n))
	}
	index := make([]int32, n*(k+1))
	for i := range index {
		index[i] = int32(r.IntN(rows))
		if i%(k+1) == 0 {
			index[i] = int32(batch.Index[i/(k+1)])
		}
	}
	for graph, pairs := range map[string][][2]int{
		"core": {{0, 1}, {0, 2}, {0, 3}},
		"full": {{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}},
	} {
		o := flows.Defaults("cmc")
		o.Loss.Graph, o.Loss.Softmax, o.Loss.K, o.Loss.T = graph, true, k, temperature
		c, err := flows.NewCMC(o, []string{"l", "ab", "depth", "normals"}, rows, d)
		if err != nil {
			t.Fatal(err)
		}
		has := func(v, b int) bool { return batch.Present[v] == nil || batch.Present[v][b] }
		var want float64
		old := make([][]float32, views)
		for v := range views {
			old[v] = append([]float32(nil), must(c.Memories[v].Rows())...)
		}
		for _, p := range pairs {
			for _, dir := range [][2]int{p, {p[1], p[0]}} {
				var sum float64
				count := 0
				for b := range n {
					if !has(dir[0], b) || !has(dir[1], b) {
						continue
					}
					count++
					var total, positive float64
					for j := range k + 1 {
						var s float64
						for i := range d {
							s += float64(out[dir[0]][b*d+i]) * float64(old[dir[1]][int(index[b*(k+1)+j])*d+i])
						}
						if j == 0 {
							positive = s / temperature
						}
						total += math.Exp(s / temperature)
					}
					sum += math.Log(total) - positive
				}
				want += sum / float64(count)
			}
		}
		s := &stages.Scores{Features: &stages.Features{Batch: batch, Out: out}}
		if err := c.ScoreWith(s, index); err != nil {
			t.Fatal(err)
		}
		if math.Abs(s.Loss-want) > 1e-5 {
			t.Errorf("%s graph: loss %v, want %v", graph, s.Loss, want)
		}
		for v := range views {
			for b, id := range batch.Index {
				moved := fmt.Sprint(must(c.Memories[v].Rows())[id*d:][:d]) != fmt.Sprint(old[v][id*d:][:d])
				if moved != has(v, b) {
					t.Errorf("%s graph: view %d of sample %d, present %v: its memory moved %v", graph, v, b, has(v, b), moved)
				}
				gradient := false
				for _, g := range s.D[v][b*d:][:d] {
					gradient = gradient || g != 0
				}
				if gradient && !has(v, b) {
					t.Errorf("%s graph: view %d of sample %d is missing and has a gradient", graph, v, b)
				}
			}
		}
	}
}

// Runs with views from files, some missing, are the same for any number of workers, and stopped and resumed; missing views
// never reach their memory; and the encoders are judged without them.
func TestMissingViews(t *testing.T) {
	t.Parallel()
	data := scenes(t)
	lacking := map[int]bool{}
	for class := range 3 {
		for i := range 4 {
			if err := os.Remove(sidePath(data, "depth", class, i)); err != nil {
				t.Fatal(err)
			}
			lacking[class*9+i] = true
		}
	}
	for _, graph := range []string{"core", "full"} {
		o := many(t, graph, data)
		if err := flows.Validate(o); err != nil {
			t.Fatal(err)
		}
		want := run(t, o)
		for _, name := range []string{"l_loss", "ab_loss", "depth_loss", "normals_prob"} {
			if !strings.Contains(want, name) {
				t.Fatalf("%s graph: no %s in %s", graph, name, want)
			}
		}
		first := filepath.Join(o.Run.ModelPath, flows.RunName(o))
		o.Run.ModelPath, o.Run.MaxSteps, o.Data.Workers = t.TempDir(), 3, 3
		run(t, o)
		o.Run.MaxSteps, o.Run.Resume = 0, "auto"
		if got := run(t, o); got != want {
			t.Errorf("%s graph: resumed:\n%s\nstraight:\n%s", graph, got, want)
		}
		a, err := flows.ReadState(first)
		if err != nil {
			t.Fatal(err)
		}
		memory := a.Tensor("contrast/memory_depth").Float32s()
		for i := range 27 {
			var sum float64
			for _, v := range memory[i*128:][:128] {
				sum += float64(v) * float64(v)
			}
			if touched := math.Abs(sum-1) < 1e-5; touched == lacking[i] { // rows have length one once they are updated
				t.Errorf("%s graph: sample %d lacks depth: %v, its memory row was updated: %v", graph, i, lacking[i], touched)
			}
		}
		if _, err := flows.ScoreKNN(context.Background(), first, data, flows.DefaultKNN, flows.Open{Threads: 1}); err != nil {
			t.Error(err)
		}
	}
	if a, b := run(t, many(t, "core", data)), run(t, many(t, "full", data)); a == b {
		t.Error("core and full are the same run")
	}
}

// What lies beside a picture is cut, scaled and mirrored with it.
func TestBesideIsAligned(t *testing.T) {
	data := t.TempDir()
	r := rand.New(rand.NewPCG(1, 1))
	for class := range 2 {
		for i := range 4 {
			img := image.NewGray(image.Rect(0, 0, 70, 50))
			deep := image.NewGray16(img.Rect)
			base := r.IntN(100)
			for p := range img.Pix {
				img.Pix[p] = uint8(base + p%70 + p/70)
				deep.SetGray16(p%70, p/70, color.Gray16{Y: uint16(img.Pix[p]) * 0x101})
			}
			for path, m := range map[string]image.Image{
				filepath.Join(data, "train", fmt.Sprint(class), fmt.Sprintf("%d.png", i)):         img,
				filepath.Join(data, "twin", "train", fmt.Sprint(class), fmt.Sprintf("%d.png", i)): deep,
			} {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				f, err := os.Create(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := png.Encode(f, m); err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
		}
	}
	o := small(t, "cmc", data)
	o.Data.ViewDirs, o.Data.View, o.Data.CropLow, o.Optim.BatchSize = "twin", "YIQ", 0.2, 4
	o.Data.ViewMean, o.Data.ViewStd = []float64{0, 0, 0}, []float64{1, 1, 1}
	seen, flips := 0, 0
	o.Data.ViewFuncs = []stages.ViewFunc{{Name: "probe", Channels: 1, Render: func(dst []float32, p *pixel.Picture) {
		for i := range dst {
			dst[i] = float32(p.Pix[3*i])/255*2 - 1
		}
		if dst[0] > dst[31] { // values rise to the right
			flips++
		}
	}}}
	for b, err := range flows.Batches(o) {
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Views) != 4 {
			t.Fatalf("%d views", len(b.Views))
		}
		for i, v := range b.Views[3] {
			if math.Abs(float64(v-b.Views[2][i])) > 0.02 {
				t.Fatalf("pixel %d: the picture is %v, its twin %v", i, v, b.Views[2][i])
			}
		}
		seen += len(b.Index)
		b.Release()
	}
	if seen != 16 || flips == 0 || flips == 16 {
		t.Errorf("%d samples of 2 epochs of 8, %d mirrored", seen, flips)
	}
}

// Mistakes in extra views are one clear line, before anything is written when they can be seen then.
func TestViewMistakes(t *testing.T) {
	data := scenes(t)
	rewrite := func(path string, size int, colour bool) {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var img image.Image = image.NewGray16(image.Rect(0, 0, size, size))
		if colour {
			img = image.NewRGBA(image.Rect(0, 0, size, size))
		}
		if err := png.Encode(f, img); err != nil {
			t.Fatal(err)
		}
	}
	try := func(want string, change func(o *flows.Options)) {
		t.Helper()
		o := many(t, "full", data)
		change(&o)
		r, err := flows.Prepare(o)
		if err == nil {
			err = r.Train(context.Background())
			r.Close()
		} else if entries, _ := os.ReadDir(o.Run.ModelPath); len(entries) > 0 {
			t.Errorf("%q: something was written", want)
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	try("there is no such folder", func(o *flows.Options) { o.Data.ViewDirs = "depth,heat" })
	try("two views are named \"depth\"", func(o *flows.Options) { o.Data.ViewDirs = "depth,depth" })
	try("want folders beside train and val", func(o *flows.Options) { o.Data.ViewDirs = "depth,train" })
	try("top of a range", func(o *flows.Options) { o.Data.ViewDirs = "depth:0" })
	try("one encoder of colour images", func(o *flows.Options) { o.Method, o.Net.Model = "supervised", "resnet18" })
	if err := os.MkdirAll(filepath.Join(data, "empty", "train"), 0o755); err != nil {
		t.Fatal(err)
	}
	try("holds no .png file", func(o *flows.Options) { o.Data.ViewDirs = "empty" })
	rewrite(filepath.Join(data, "empty", "train", "stray.png"), 48, false)
	try("none of 27 images looked at has a file", func(o *flows.Options) { o.Data.ViewDirs = "empty" })
	put(t, filepath.Join(data, "empty", "train", "stray.png"), nil)
	try("can be read", func(o *flows.Options) { o.Data.ViewDirs = "empty" })
	first := sidePath(data, "depth", 0, 0)
	whole, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	put(t, first, nil)
	if r, err := flows.Prepare(many(t, "full", data)); err != nil {
		t.Errorf("the first file of a view cannot be read: %v", err)
	} else {
		r.Close()
	}
	put(t, first, whole)

	bad := sidePath(data, "depth", 1, 3)
	rewrite(bad, 48, true)
	try(bad+": it has 3 channels, other files of view depth have 1", func(o *flows.Options) {})
	rewrite(bad, 40, false)
	try(bad+" is 40×40 pixels, its image "+filepath.Join(data, "train", synth.ClassName(1), "00003.jpg")+" 48×48", func(o *flows.Options) {})
	// A file that cannot be read is a bad sample like any other.
	if err := os.WriteFile(bad, []byte("not a picture"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := many(t, "full", data)
	r, err := flows.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	told := ""
	r.OnBad(func(_, _ string, err error) { told = err.Error() })
	if err := r.Train(context.Background()); err != nil || !strings.Contains(told, bad) {
		t.Errorf("two epochs with one unreadable view: %v, told %q", err, told)
	}
}
