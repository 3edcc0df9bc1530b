package flows_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/imagefolder"
	"github.com/contraflow/contraflow/io/npz"
	"github.com/contraflow/contraflow/io/peertest"
	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/io/synth"
	"github.com/contraflow/contraflow/stages"
)

// goldenCheckpoint writes resnet18v1 with the weights of testdata/golden as the original's .pth.
func goldenCheckpoint(t *testing.T) string {
	t.Helper()
	net := fillNet(t, "resnet18v1", "cmc", 7, 64)
	model := encoders.Model{Multi: true}
	s := &checkpoint.State{}
	for v, p := range net.params {
		for _, spec := range p.Specs() {
			x := make([]float32, spec.Len())
			if err := p.Read(spec.Name, x); err != nil {
				t.Fatal(err)
			}
			s.Tensors = append(s.Tensors, raw.FromFloat32(model.Prefix(v)+spec.Name, spec.Shape, x))
		}
	}
	path := filepath.Join(t.TempDir(), "run", "golden.pth")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := flows.WriteState(path, s, false); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestProbePeer probes a golden checkpoint, and trains the original's classifier in PyTorch on the same features, from the same weights and
// over the same batches: both must judge every validation image alike. The .pth that the probe leaves must load in PyTorch.
func TestProbePeer(t *testing.T) {
	t.Parallel()
	checkpoint, data := goldenCheckpoint(t), filepath.Join(t.TempDir(), "data")
	if err := synth.Write(context.Background(), data, synth.Options{Classes: 5, PerClass: 9, ValPerClass: 20, Size: 64, Seed: 6}); err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string]func(o *flows.ProbeOptions){
		"sgd":    func(o *flows.ProbeOptions) { o.LR = 0.002 },
		"decay":  func(o *flows.ProbeOptions) { o.LR, o.WeightDecay, o.Cosine, o.Layer = 0.003, 0.001, true, 4 },
		"adam":   func(o *flows.ProbeOptions) { o.LR, o.Adam = 0.002, true },
		"layer1": func(o *flows.ProbeOptions) { o.LR, o.Layer = 0.00002, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			o := smallProbe(t, data, checkpoint)
			o.ImageSize, o.Epochs, o.DecayEpochs, o.Augment, o.Cache, o.Model = 64, 6, []int{3, 5}, false, true, "resnet18v1"
			set(&o)
			res := probe(t, o)
			peer := runPeer(t, o, res)
			val := openFolder(t, filepath.Join(data, "val"))
			record := struct {
				Confusion [][]int
			}{}
			readJSON(t, filepath.Join(res.Dir, "result.json"), &record)
			want := make([][]int, len(record.Confusion))
			for c := range want {
				want[c] = make([]int, len(want))
			}
			for i, p := range peer.Pred {
				want[val.Label(i)][p]++
			}
			if a, b := text(want), text(record.Confusion); a != b {
				t.Errorf("confusion %s, PyTorch has %s", b, a)
			}
			if res.LastTop1 != round(peer.Top1, val.Len()) || res.LastTop5 != round(peer.Top5, val.Len()) {
				t.Errorf("top-1 %v, top-5 %v; PyTorch has %v, %v", res.LastTop1, res.LastTop5, peer.Top1, peer.Top5)
			}
			// How far 18 steps of float32 end from the same in float64 depends on the rate and on luck: PyTorch's worst of nine orders of
			// summation is the measure.
			for _, c := range []struct {
				what        string
				ours, torch float64
			}{{"weight", peer.Ours.Weight, peer.Torch.Weight}, {"bias", peer.Ours.Bias, peer.Torch.Bias}, {"optimiser", peer.Ours.Moments, peer.Torch.Moments}} {
				if c.ours > 2*c.torch {
					t.Errorf("%s: %.2g from float64, PyTorch's float32 %.2g", c.what, c.ours, c.torch)
				}
			}
			t.Logf("top-1 %.4f, top-5 %.4f; from float64: ours %.2g, PyTorch %.2g", res.LastTop1, res.LastTop5, peer.Ours, peer.Torch)
		})
	}
}

type peerResult struct {
	Pred        []int
	Top1, Top5  float64
	Ours, Torch peerErrors // from float64; PyTorch's worst of several orders of summation
}

// peerErrors are largest differences relative to the largest value.
type peerErrors struct{ Weight, Bias, Moments float64 }

// runPeer describes a finished probe to testdata/probe_peer.py.
func runPeer(t *testing.T, o flows.ProbeOptions, res *flows.ProbeResult) (out peerResult) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(o.SavePath, "features", "*.npy"))
	if err != nil || len(files) != 2 { // train-…, val-…
		t.Fatalf("cached features are %v (%v), want two files", files, err)
	}
	train, val := openFolder(t, filepath.Join(o.DataFolder, "train")), openFolder(t, filepath.Join(o.DataFolder, "val"))
	labels := func(f *imagefolder.Folder) (out []int) {
		for i := range f.Len() {
			out = append(out, f.Label(i))
		}
		return out
	}
	model, err := encoders.Lookup(res.Model, 128)
	if err != nil {
		t.Fatal(err)
	}
	h, err := flows.NewLinearHead(model.Classifier(res.Layer, res.Classes, ""), res.Features, o.BatchSize, 1, 0, uint64(o.Seed))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	s, err := h.State()
	if err != nil {
		t.Fatal(err)
	}
	start := filepath.Join(t.TempDir(), "start.npz")
	f, err := os.Create(start)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(npz.Write(f, []raw.Tensor{raw.FromFloat32("weight", s.Shapes[0], s.Values[0]), raw.FromFloat32("bias", s.Shapes[1], s.Values[1])}), f.Close()); err != nil {
		t.Fatal(err)
	}
	var batches [][]int
	var rates []float64
	schedule := flows.OptimOptions{LR: o.LR, DecayRate: o.DecayRate, DecayEpochs: o.DecayEpochs, Cosine: o.Cosine, Epochs: o.Epochs}
	for p, err := range (stages.Sampler{N: train.Len(), Batch: o.BatchSize, Epochs: o.Epochs, Seed: uint64(o.Seed)}).Plans() {
		if err != nil {
			t.Fatal(err)
		}
		batches, rates = append(batches, p.Index), append(rates, schedule.Rate(p.Epoch))
	}
	kase, err := json.Marshal(map[string]any{"train": files[0], "val": files[1], "train_labels": labels(train), "val_labels": labels(val), "classes": res.Classes,
		"start": start, "batches": batches, "rates": rates, "base": o.LR, "adam": o.Adam, "decay": o.WeightDecay, "pth": filepath.Join(res.Dir, "last.pth")})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "case.json")
	if err := os.WriteFile(path, kase, 0o644); err != nil {
		t.Fatal(err)
	}
	printed := peertest.Run(t, "torch", filepath.Join("testdata", "probe_peer.py"), path)
	if err := json.Unmarshal(printed, &out); err != nil {
		t.Fatalf("probe_peer.py printed %.200q: %v", printed, err)
	}
	return out
}

func openFolder(t *testing.T, dir string) *imagefolder.Folder {
	t.Helper()
	f, err := imagefolder.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func text(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}

// round takes a share of n that went through float32 back to the count.
func round(share float64, n int) float64 { return float64(int(share*float64(n)+0.5)) / float64(n) }
