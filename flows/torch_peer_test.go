package flows

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/contraflow/contraflow/io/npz"
	"github.com/contraflow/contraflow/io/peertest"
	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/io/synth"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// pyTorch runs testdata/peer_encoders.py.
func pyTorch(t *testing.T, args ...string) {
	t.Helper()
	peertest.Run(t, "torch", append([]string{filepath.Join("testdata", "peer_encoders.py")}, args...)...)
}

const peerPictures = 2 // of 3×224×224, what the original's average pooling needs

// peerInput writes pictures of noise.
func peerInput(t *testing.T, dir string) (path string, x []float32) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	x = make([]float32, peerPictures*3*224*224)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	path = filepath.Join(dir, "x.npz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(npz.Write(f, []raw.Tensor{raw.FromFloat32("x", []int{peerPictures, 3, 224, 224}, x)}), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path, x
}

// sameFeatures compares what an opened encoder makes of x with an .npz of PyTorch's: features and embeddings of every tower.
func sameFeatures(t *testing.T, what, file string, x []float32, with Open, want string) {
	t.Helper()
	with.ImageSize = 224
	e, err := OpenEncoder(file, with)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	theirs, err := npz.Open(want)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	const size = 224 * 224
	channel := 0
	for v, c := range e.views.channels() {
		view := make([]float32, 0, peerPictures*c*size)
		for b := range peerPictures {
			view = append(view, x[(b*3+channel)*size:][:c*size]...)
		}
		channel += c
		p, err := e.net.device.Compile(e.net.graphs[v], e.net.params[v], ops.Options{Batch: peerPictures, Outputs: []string{e.Model.Features(), e.Model.Embedding()}})
		if err != nil {
			t.Fatal(err)
		}
		tape, err := p.Forward(view, peerPictures)
		if err != nil {
			t.Fatal(err)
		}
		for i, kind := range []string{"feature", "embedding"} {
			ref, err := theirs.Read(fmt.Sprintf("%s_%d", kind, v))
			if err != nil {
				t.Fatal(err)
			}
			y, ours := ref.Float32s(), tape.Output(i)
			var worst, largest float64
			for j := range y {
				worst, largest = max(worst, math.Abs(float64(y[j])-float64(ours[j]))), max(largest, math.Abs(float64(y[j])))
			}
			if len(y) != len(ours) || !(worst <= 1e-5*max(1, largest)) {
				t.Errorf("%s: %s of tower %d: %d values differ from PyTorch's %d by up to %.3g, the largest being %.3g", what, kind, v, len(ours), len(y), worst, largest)
			}
			t.Logf("%s: %s of tower %d differs by at most %.2g, the largest value being %.3g", what, kind, v, worst, largest)
		}
		tape.Release()
	}
}

// peerOptions are a small run of one of the original's models.
func peerOptions(t *testing.T, method, model, data string) Options {
	o := Defaults(method)
	o.Data.Folder, o.Data.ImageSize, o.Data.Dataset, o.Net.Model = data, 64, "imagenet100", model
	o.Loss.K, o.Loss.Softmax, o.Optim.BatchSize, o.Optim.Epochs = 16, method != "cmc", 8, 5
	o.Run.ModelPath, o.Run.SaveFreq = t.TempDir(), 0
	return o
}

func peerData(t *testing.T) string {
	data := filepath.Join(t.TempDir(), "data")
	if err := synth.Write(context.Background(), data, synth.Options{Classes: 3, PerClass: 8, ValPerClass: 3, Size: 64, Seed: 5}); err != nil {
		t.Fatal(err)
	}
	return data
}

var peerModels = []struct{ method, model string }{{"cmc", "alexnet"}, {"cmc", "resnet18v1"}, {"moco", "resnet18"}, {"insdis", "resnet50"}}

// What we write PyTorch loads strictly into the original's modules and its optimizer, trusting or with weights_only, and
// computes the same features.
func TestPyTorchEmbedsOurs(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("seconds of PyTorch")
	}
	peertest.Needs(t, "torch")
	data, dir := peerData(t), t.TempDir()
	in, x := peerInput(t, dir)
	type embedded struct{ what, run, out string }
	var all []embedded
	args := []string{"features", in}
	for _, m := range peerModels {
		o := peerOptions(t, m.method, m.model, data)
		o.Run.MaxSteps = 2
		r, err := Prepare(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.Train(context.Background()), r.Close()); err != nil {
			t.Fatal(err)
		}
		for mode, namespace := range map[string]bool{"plain": true, "weights_only": false} {
			base := filepath.Join(dir, m.model+"_"+mode)
			if err := Convert(r.Dir, base+".pth", namespace); err != nil {
				t.Fatal(err)
			}
			args = append(args, base+".pth", base+".npz", mode)
			all = append(all, embedded{m.model + " " + mode, r.Dir, base + ".npz"})
		}
	}
	pyTorch(t, args...)
	for _, e := range all {
		sameFeatures(t, e.what, e.run, x, Open{}, e.out)
	}
}

// What PyTorch writes, in either layout and as a bare state_dict, opens here and gives the same features; it goes on training
// with its weights, velocities and bank, and is scored by kNN.
func TestPyTorchGoesOnHere(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("seconds of PyTorch")
	}
	data, dir := peerData(t), t.TempDir()
	in, x := peerInput(t, dir)
	pyTorch(t, "make", dir, in, "24", "16")
	for _, m := range peerModels {
		base := filepath.Join(dir, m.method+"_"+m.model)
		files, err := filepath.Glob(base + "_*.pth")
		if err != nil || len(files) == 0 {
			t.Fatalf("no files %s_*.pth: %v", base, err)
		}
		for _, file := range files {
			sameFeatures(t, filepath.Base(file), file, x, Open{}, base+".npz")
		}
		o := peerOptions(t, m.method, m.model, data)
		o.Run.Resume = files[len(files)-1]
		goesOn(t, o)
	}
	s, err := ScoreKNN(context.Background(), filepath.Join(dir, "cmc_resnet18v1_legacy.pth"), data, DefaultKNN, Open{})
	if err != nil || s.Val != 9 || s.KNN == s.Untrained && s.KNN == 0 {
		t.Errorf("kNN of a .pth: %+v, %v", s, err)
	}
}

// goesOn resumes from a file of two epochs and trains the third.
func goesOn(t *testing.T, o Options) {
	t.Helper()
	file, err := ReadState(o.Run.Resume)
	if err != nil {
		t.Fatal(err)
	}
	o.Optim.Epochs = 3
	r, err := Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Start() != 2*3 {
		t.Errorf("%s: goes on at step %d, want 6: two epochs of three steps", o.Run.Resume, r.Start())
	}
	s, err := stages.TakeSnapshot(r.towers, stages.Plan{Step: r.Start(), Epoch: 3}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Bank, err = r.objective.State(nil); err != nil {
		t.Fatal(err)
	}
	ours, err := r.checkpointState(s)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for i := range file.Tensors {
		a := &file.Tensors[i]
		b := ours.Tensor(a.Name)
		if b == nil {
			t.Errorf("%s is not taken over", a.Name)
			continue
		}
		x, y := a.Float32s(), b.Float32s()
		for j := range x {
			if x[j] != y[j] {
				t.Errorf("%s[%d] is %v, the file has %v", a.Name, j, y[j], x[j])
				break
			}
		}
		compared++
	}
	if compared < 100 {
		t.Errorf("only %d tensors of the file were compared", compared)
	}
	steps := 0
	r.Observe = func(rep *stages.Report) {
		steps++
		if math.IsNaN(rep.Loss) || rep.Plan.Epoch != 3 {
			t.Errorf("step %d of epoch %d: loss %v", rep.Plan.Step, rep.Plan.Epoch, rep.Loss)
		}
	}
	if err := r.Train(context.Background()); err != nil || steps != 3 {
		t.Errorf("%d steps, want 3: %v", steps, err)
	}
}
