package flows_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cpu"
	"github.com/contraflow/contraflow/ops/opstest/golden"
)

// The processor's bfloat16, of which Winograd's convolutions, all that AlexNet has of many channels, take no part.
func TestGoldenBF16(t *testing.T) {
	if !cpu.BF16() {
		t.Skip("this processor has no AVX512_BF16")
	}
	d, err := cpu.Open(cpu.Options{BF16: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if !strings.Contains(d.Name(), "bfloat16") {
		t.Errorf("the device is %s", d.Name())
	}
	goldenBF16(t, func() ops.Device { return d }, 5e-3, func(net string) (wanted, rounds bool) { return true, !strings.Contains(net, "alexnet") })
}

// goldenBF16 compares the embeddings of the golden networks, in training, with the files': rows of length one, of which no value may be
// off by more than most. which says what networks are wanted, and on which of these rounding must show.
func goldenBF16(t *testing.T, open func() ops.Device, most float64, which func(net string) (wanted, rounds bool)) {
	t.Helper()
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
		wanted, rounds := which(meta["net"])
		if !wanted {
			continue
		}
		d := open()
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
			if !(worst <= most) {
				t.Errorf("%s, tower %d: the embedding in bfloat16 is off by %.3g", file, v, worst)
			}
			if rounds && worst < 1e-5 {
				t.Errorf("%s, tower %d: off by %.1e: this is not bfloat16", file, v, worst)
			}
			compared++
		}
	}
	if compared == 0 {
		t.Fatal("no network was compared")
	}
}
