package flows_test

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/opstest/golden"
	"github.com/contraflow/contraflow/stages"
)

// trajectoryImages are the 64 images of the trajectories: normalised Lab as stored, or RGB by the file's formula.
func trajectoryImages(t *testing.T, lab bool) (pixels []float32, side int) {
	t.Helper()
	f := open(t, "06_traj_data.npz")
	a := f.Arrays["lab"]
	if lab {
		return a.F, a.Shape[2]
	}
	seed, n := uint64(stated(t, f, strings.Join(f.Meta.Notes, " "), "seed")), a.Shape[0]
	side = f.Arrays["pixels"].Shape[1]
	out := make([]float32, n*3*side*side)
	mean, std := [3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}
	for i := range n {
		for r := range side {
			for c := range side {
				for k := range 3 {
					h1 := golden.Hash(seed, 1, uint64(((i*8+r/8)*8+c/8)*3+k))
					h2 := golden.Hash(seed, 2, uint64(((i*side+r)*side+c)*3+k))
					v := min(max(int(h1%256)+int(h2%64)-32, 0), 255)
					if stored := f.Arrays["pixels"]; i < stored.Shape[0] && stored.F[((i*side+r)*side+c)*3+k] != float32(v) {
						t.Fatalf("06_traj_data: pixel %d %d %d %d is %v, the formula gives %d", i, r, c, k, stored.F[((i*side+r)*side+c)*3+k], v)
					}
					out[((i*3+k)*side+r)*side+c] = float32((float64(v)/255 - mean[k]) / std[k])
				}
			}
		}
	}
	compare(t, f, "trajectory data", "rgb0", out[:f.Arrays["rgb0"].Len()])
	return out, side
}

// upsample repeats pixels: the batch ids of images [·,3,side,side] at size×size.
func upsample(images []float32, side int, ids []int, size int) []float32 {
	out := make([]float32, len(ids)*3*size*size)
	for b, id := range ids {
		for k := range 3 {
			src, dst := images[(id*3+k)*side*side:], out[(b*3+k)*size*size:]
			for r := range size {
				for c := range size {
					dst[r*size+c] = src[r*side/size*side+c*side/size]
				}
			}
		}
	}
	return out
}

// TestGoldenTrajectories trains the files' networks for their steps and follows losses, banks and parameters. Such a system
// is chaotic: tolerances are the files', measured for every step.
func TestGoldenTrajectories(t *testing.T) {
	files, err := golden.Find(golden.Dir(), "06_traj_*_*_*.npz")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("%s holds no 06_traj_* file", golden.Dir())
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(name, ".npz"), func(t *testing.T) { trajectory(t, open(t, name)) })
	}
}

// series are the arrays with a row a step.
type series struct{ losses, prob, gnorm, z []float32 }

func trajectory(t *testing.T, f *golden.File) {
	meta, kase := notes(t, f), strings.TrimSuffix(f.Name, ".npz")
	cfg, hyper := ints(f.Arrays["cfg"]), f.Arrays["hyper"].F
	seed, steps, n, size, k, data := uint64(cfg[0]), cfg[1], cfg[2], cfg[3], cfg[4], cfg[5]
	method := meta["method"]
	net := fillNet(t, meta["net"], method, seed, size)
	images, side := trajectoryImages(t, method == "cmc")
	last := "layer" + strconv.Itoa(net.net.Layers())
	var programs []ops.Program
	for v, g := range net.graphs {
		p, err := net.d.Compile(g, net.params[v], ops.Options{Batch: n, Train: true, Outputs: []string{last}, Direct: true})
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, p)
	}
	d := programs[0].OutputShape(0).Len()
	o := flows.Defaults(method)
	o.Loss.K, o.Loss.T, o.Loss.M, o.Loss.Softmax = k, float64(hyper[3]), float64(hyper[4]), meta["loss"] == "softmax"
	if method == "moco" && hyper[3] == float32(0.07) {
		o.Loss.T = 0.07
	}
	decimal := func(v float32) float64 { // what was written before it became float32
		x, _ := strconv.ParseFloat(fmt.Sprint(v), 64)
		return x
	}
	score, state, key := trajectoryContrast(t, f, o, seed, data, d, func() *filled {
		e := fillNet(t, meta["net"], method, seed+1, size)
		if err := averageOnto(e, net, 0); err != nil {
			t.Fatal(err)
		}
		return e
	})
	var got series
	for s := range steps {
		ids := ints(f.Arrays["y"])[s*n : (s+1)*n]
		x := upsample(images, side, ids, size)
		views := [][]float32{x}
		if method == "cmc" {
			views = split(x, n, size*size)
		}
		var feats [][]float32
		var tapes []ops.Tape
		for v, p := range programs {
			tape, err := p.Forward(views[v], n)
			if err != nil {
				t.Fatal(err)
			}
			tapes, feats = append(tapes, tape), append(feats, tape.Output(0))
		}
		if key != nil {
			feats = append(feats, goldenKeys(t, key, flip(x, size), ints(f.Arrays["shuffle"])[s*n:(s+1)*n], n, last))
		}
		trajectoryFeatures(t, f, kase, method, s, steps, feats)
		sc := score(s, ids, feats)
		got.add(method, sc, state())
		var norm float64
		for v, tape := range tapes {
			net.params[v].ZeroGrad()
			if _, err := tape.Backward(sc.D[v]); err != nil {
				t.Fatal(err)
			}
			g := net.params[v].GradNorm()
			norm += g * g
		}
		got.gnorm = append(got.gnorm, float32(math.Sqrt(norm)))
		for _, p := range net.params {
			p.SGD(decimal(hyper[0]), decimal(hyper[1]), decimal(hyper[2]))
		}
		if key != nil {
			if err := averageOnto(key, net, decimal(hyper[5])); err != nil {
				t.Fatal(err)
			}
		}
	}
	got.check(t, f, kase, steps)
	goldenBanks(t, f, kase, state())
	compareGroup(t, f, kase, "params_final", func(name string) []float32 { return net.tensor(t, name, false) })
	compareGroup(t, f, kase, "bn_final", func(name string) []float32 { return net.tensor(t, name, false) })
	if key != nil {
		compareGroup(t, f, kase, "ema_params_final", func(name string) []float32 { return key.tensor(t, name, false) })
		compareGroup(t, f, kase, "ema_bn_final", func(name string) []float32 { return key.tensor(t, name, false) })
	}
}

// trajectoryContrast makes the method's objective with the files' memories, and for MoCo its key encoder.
func trajectoryContrast(t *testing.T, f *golden.File, o flows.Options, seed uint64, data, d int, newKey func() *filled) (
	score func(step int, ids []int, feats [][]float32) *stages.Scores, state func() []stages.BankTensor, key *filled) {
	t.Helper()
	run := func(ids []int, feats [][]float32, f func(s *stages.Scores) error) *stages.Scores {
		s := scored(t, ids, feats...)
		if err := f(s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	index := func(step, n int) []int32 {
		all := int32s(f.Arrays["idx"])
		return all[step*n*(o.Loss.K+1):][:n*(o.Loss.K+1)]
	}
	switch o.Method {
	case "cmc":
		c, err := flows.NewCMC(o, []string{"l", "ab"}, data, d)
		if err != nil {
			t.Fatal(err)
		}
		copy(must(c.Memories[0].Rows()), golden.Memory(seed, 200000, data, d))
		copy(must(c.Memories[1].Rows()), golden.Memory(seed, 200001, data, d))
		return func(step int, ids []int, feats [][]float32) *stages.Scores {
			return run(ids, feats, func(s *stages.Scores) error { return c.ScoreWith(s, index(step, len(ids))) })
		}, func() []stages.BankTensor { return must(c.State(nil)) }, nil
	case "insdis":
		c, err := flows.NewInsDis(o, data, d)
		if err != nil {
			t.Fatal(err)
		}
		copy(must(c.Memory.Rows()), golden.Memory(seed, 200000, data, d))
		return func(step int, ids []int, feats [][]float32) *stages.Scores {
			return run(ids, feats, func(s *stages.Scores) error { return c.ScoreWith(s, index(step, len(ids))) })
		}, func() []stages.BankTensor { return must(c.State(nil)) }, nil
	}
	c, err := flows.NewMoCo(o, data, d)
	if err != nil {
		t.Fatal(err)
	}
	copy(must(c.Queue.Rows()), golden.Memory(seed, 200000, o.Loss.K, d))
	return func(_ int, ids []int, feats [][]float32) *stages.Scores { return run(ids, feats, c.Score) }, func() []stages.BankTensor { return must(c.State(nil)) }, newKey()
}

// add appends a step.
func (g *series) add(method string, s *stages.Scores, state []stages.BankTensor) {
	g.losses = append(g.losses, float32(s.Loss))
	params := state[0].Data
	switch method {
	case "cmc":
		g.losses = append(g.losses, float32(s.Values[0].V), float32(s.Values[2].V))
		g.prob = append(g.prob, float32(s.Values[1].V), float32(s.Values[3].V))
		g.z = append(g.z, params[2], params[3])
	case "insdis":
		g.prob, g.z = append(g.prob, float32(s.Values[1].V)), append(g.z, params[2])
	default:
		g.prob, g.z = append(g.prob, float32(s.Values[1].V)), append(g.z, params[0])
	}
}

// check compares the series: the loss of every step within the tolerance of that step, the others as arrays.
func (g *series) check(t *testing.T, f *golden.File, kase string, steps int) {
	t.Helper()
	want, tol := f.Truth("losses").F, f.Arrays["loss_tol"].F
	width := len(want) / steps
	for s := range steps {
		w := float64(want[s*width])
		note(t, kase, fmt.Sprintf("loss of step %d", s), math.Abs(float64(g.losses[s*width])-w)/max(1, math.Abs(w)), float64(tol[s]))
	}
	compare(t, f, kase, "losses", g.losses)
	compare(t, f, kase, "prob", g.prob)
	compare(t, f, kase, "gnorm", g.gnorm)
	compare(t, f, kase, "Z", g.z)
}

func trajectoryFeatures(t *testing.T, f *golden.File, kase, method string, s, steps int, feats [][]float32) {
	t.Helper()
	names := map[string][]string{"cmc": {"feat_l", "feat_ab"}, "insdis": {"feat"}, "moco": {"feat", "feat_k"}}[method]
	for i, name := range names {
		if s == 0 {
			compare(t, f, kase, name+"_first", feats[i])
		}
		if s == steps-1 {
			compare(t, f, kase, name+"_last", feats[i])
		}
	}
}

func goldenBanks(t *testing.T, f *golden.File, kase string, state []stages.BankTensor) {
	t.Helper()
	compared := 0
	for _, b := range state {
		if f.Truth(b.Name+"_final") != nil {
			compare(t, f, kase, b.Name+"_final", b.Data)
			compared++
		}
		if want := f.Arrays["queue_index"]; b.Name == "queue_ptr" && want != nil && int64(b.Data[0]) != want.I[0] {
			t.Errorf("%s: queue position %v, want %d", kase, b.Data[0], want.I[0])
		}
	}
	if compared == 0 {
		t.Errorf("%s: no bank was compared", kase)
	}
}
