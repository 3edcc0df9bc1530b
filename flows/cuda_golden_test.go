//go:build cuda

package flows_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda"
	"github.com/contraflow/contraflow/ops/opstest/golden"
)

// In bfloat16 the embeddings of the golden networks, in training, are within 2e-2 of the files' in every value: rows of length one.
// Float32 follows the golden tests, with CONTRAFLOW_TEST_DEVICE=cuda. -test.short takes the smallest network.
func TestCUDAGoldenBF16(t *testing.T) {
	onCUDA(t)
	names := map[string][]string{"cmc": {"feat_l", "feat_ab"}, "insdis": {"feat"}, "moco": {"feat"}}
	files, err := golden.Find(golden.Dir(), "03_*_*_*.npz")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, file := range files {
		f, err := golden.Open(golden.Dir(), file)
		if err != nil {
			t.Fatal(err)
		}
		meta := notes(t, f)
		if testing.Short() && !strings.Contains(meta["net"], "resnet18") {
			continue
		}
		d, err := cuda.Open(cuda.Options{BF16: true})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		cfg := ints(f.Arrays["cfg"])
		seed, n, size := uint64(cfg[0]), cfg[1], cfg[2]
		net := fillNetOn(t, d, meta["net"], meta["method"], seed, size)
		views := [][]float32{golden.Image(seed, 100000, n, 3, size, size)}
		if meta["method"] == "cmc" {
			views = split(views[0], n, size*size)
		}
		for v, g := range net.graphs {
			p, err := d.Compile(g, net.params[v], ops.Options{Batch: n, Train: true, Outputs: []string{"layer" + strconv.Itoa(net.net.Layers())}})
			if err != nil {
				t.Fatal(err)
			}
			tape, err := p.Forward(views[v], n)
			if err != nil {
				t.Fatal(err)
			}
			want := f.Truth(names[meta["method"]][v]).F
			worst := maxDiff(tape.Output(0), want)
			tape.Release()
			t.Logf("%s, tower %d: off by %.1e, largest %.2f", file, v, worst, largest(want))
			if !(worst <= 2e-2) {
				t.Errorf("%s, tower %d: the embedding in bfloat16 is off by %.3g", file, v, worst)
			}
			if worst < 1e-5 {
				t.Errorf("%s, tower %d: off by %.1e: this is not bfloat16", file, v, worst)
			}
			compared++
		}
	}
	if compared == 0 {
		t.Fatal("no network was compared")
	}
}
