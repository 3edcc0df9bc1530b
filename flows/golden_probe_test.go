package flows_test

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/opstest/golden"
)

var headName = regexp.MustCompile(`^(alex|res)_(max|avg)(?:_w\d+)?_layer(\d+)$`)
var frozenName = regexp.MustCompile(`^frozen_(\w+)_layer(\d+)$`)

// head is a classifier on its own, trained by the files' recipe: SGD with momentum 0.9.
type head struct {
	*bench
	p      ops.Program
	labels []int
	n, k   int
	lr     float64
	nudge  int // of the gradient of the logits
}

func newHead(t testing.TB, c encoders.Classifier, in ops.Shape, n int, seed uint64, labels []int, lr float64) *head {
	t.Helper()
	b := build(t, c.Graph(in))
	for i, s := range b.p.Specs() {
		v := make([]float32, s.Len())
		golden.Param(v, seed, uint64(i), s.Name, s.Shape)
		b.write(s.Name, v)
	}
	p, err := b.d.Compile(b.g, b.p, ops.Options{Batch: n, Train: true, InputGrad: true, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	return &head{b, p, labels, n, c.Labels, lr, 0}
}

// step is one step; with after set, it is called between backward and the optimiser with the gradient of the features.
func (h *head) step(t testing.TB, f *golden.File, kase, c string, s int, x []float32, after func(dx []float32)) {
	t.Helper()
	tape, err := h.p.Forward(x, h.n)
	if err != nil {
		t.Fatal(err)
	}
	logits := append([]float32(nil), tape.Output(0)...)
	d := make([]float32, len(logits))
	loss := ops.SoftmaxCrossEntropy(d, logits, h.labels, h.k)
	neighbour(d, h.nudge)
	at := c + ".s" + strconv.Itoa(s)
	compare(t, f, kase, at+".logits", logits)
	mark(f, at+".loss")
	var own float64 // the loss of these logits
	for b, label := range h.labels {
		row, sum := logits[b*h.k:][:h.k], 0.0
		most := float64(slices.Max(row))
		for _, v := range row {
			sum += math.Exp(float64(v) - most)
		}
		own += (math.Log(sum) - (float64(row[label]) - most)) / float64(len(h.labels))
	}
	if math.Abs(loss-own) > 1e-12*max(1, largest(logits)) {
		t.Errorf("%s: %s.loss: %.17g, its logits make %.17g", kase, at, loss, own)
	}
	tol, _ := f.Tolerance(at + ".loss")
	want := float64(f.Truth(at + ".loss").F[0])
	scale := tol.Scale
	if scale == 0 {
		scale = largest(logits)
	}
	note(t, kase, at+".loss", math.Abs(loss-want)/scale, deviceTolerance(tol.Rel))
	top1, top5 := flows.Accuracy(logits, h.labels, h.k, 1), flows.Accuracy(logits, h.labels, h.k, 5)
	compare(t, f, kase, at+".acc", []float32{float32(100 * top1), float32(100 * top5)})
	h.bench.p.ZeroGrad()
	dx, err := tape.Backward(d)
	if err != nil {
		t.Fatal(err)
	}
	if after != nil {
		after(dx)
	}
	h.bench.p.SGD(h.lr, 0.9, 0)
}

// sampleOf takes the files' strided sample.
func sampleOf(v []float32, slots int) []float32 {
	if len(v) <= slots {
		return v
	}
	out := make([]float32, slots)
	for j := range out {
		out[j] = v[j*len(v)/slots]
	}
	return out
}

// TestGoldenProbe trains the probe of every layer for two steps: alone on given features, and behind frozen encoders.
func TestGoldenProbe(t *testing.T) {
	f := open(t, "07_linear_probe.npz")
	for _, c := range cases(t, f) {
		switch m := headName.FindStringSubmatch(c); {
		case m != nil:
			goldenHead(t, f, c, m)
		case frozenName.MatchString(c):
		default:
			t.Errorf("07_linear_probe: no case is known by the name %s", c)
		}
	}
	goldenFrozen(t, f)
	var rates []float32
	o := flows.OptimOptions{LR: 30, DecayRate: 0.2, DecayEpochs: []int{30, 40, 50}}
	for e := range f.Arrays["lr_schedule"].F {
		rates = append(rates, float32(o.Rate(e+1)))
	}
	compare(t, f, "probe schedule", "lr_schedule", rates)
}

func probeModel(kind string) encoders.Model {
	if kind == "alex" {
		return encoders.Model{Net: encoders.AlexNet{Out: 128}}
	}
	return encoders.Model{Net: encoders.ResNet{Width: 1, Out: 128}}
}

func goldenHead(t *testing.T, f *golden.File, c string, m []string) {
	layer, _ := strconv.Atoi(m[3])
	cfg := ints(f.Arrays[c+".cfg"])
	in := ops.Shape{C: cfg[3], H: cfg[4], W: cfg[5]}
	kase := "probe " + c
	classifier := probeModel(m[1]).Classifier(layer, cfg[2], m[2])
	lr, _ := strconv.ParseFloat(strconv.FormatFloat(float64(f.Arrays[c+".lr"].F[0]), 'g', -1, 32), 64)
	h := newHead(t, classifier, in, cfg[1], uint64(cfg[0]), ints(f.Arrays[c+".y"]), lr)
	x := make([]float32, cfg[1]*in.Len())
	golden.Fill(x, uint64(cfg[0]), 100000)
	h.step(t, f, kase, c, 0, x, func(dx []float32) {
		compare(t, f, kase, c+".dfeat_sample", sampleOf(dx, f.Arrays[c+".dfeat_sample"].Len()))
		compare(t, f, kase, c+".dfeat_stats", statistics(dx))
		for _, s := range h.bench.p.Specs() {
			g := h.grad(s.Name, s.Len())
			compare(t, f, kase, c+".grad_sample."+s.Name, sampleOf(g, f.Arrays[c+".grad_sample."+s.Name].Len()))
			compare(t, f, kase, c+".grad_stats."+s.Name, statistics(g))
		}
	})
	h.step(t, f, kase, c, 1, x, nil)
	for _, s := range h.bench.p.Specs() {
		compare(t, f, kase, c+".after_sample."+s.Name, sampleOf(h.read(s.Name, s.Len()), f.Arrays[c+".after_sample."+s.Name].Len()))
	}
}

// statistics are sum, L1, L2 and the largest magnitude.
func statistics(v []float32) []float32 {
	var sum, l1, l2 float64
	for _, x := range v {
		sum += float64(x)
		l1 += math.Abs(float64(x))
		l2 += float64(x) * float64(x)
	}
	return []float32{float32(sum), float32(l1), float32(math.Sqrt(l2)), float32(largest(v))}
}

// goldenFrozen probes the layers of whole encoders in evaluation mode; where a loss misses, with gradients of the logits moved by
// one unit in the last place at most.
//
// A loss of 3.6 after a step is to hold to 1e-6 where logits reach 140: a quarter of the logits' unit in the last place. With every
// sum in float64, to round the logits and their gradient to float32 once may already be three times that. A neighbour rounds
// otherwise, and moves the loss by 7e-6 at most: a loss that is further off is wrong on all of them. No tolerance changes.
func goldenFrozen(t *testing.T, f *golden.File) {
	features := map[string]func(layer int) ([]float32, ops.Shape, encoders.Net){}
	for _, c := range cases(t, f) {
		m := frozenName.FindStringSubmatch(c)
		if m == nil {
			continue
		}
		cfg, net := ints(f.Arrays[c+".cfg"]), m[1]
		if features[net] == nil {
			features[net] = frozenFeatures(t, net, uint64(cfg[0]), cfg[1], cfg[3])
		}
		layer, _ := strconv.Atoi(m[2])
		neighbours(t, "probe "+c, 64, onlyLoss, func(t testing.TB, nudge int) { goldenFrozenLayer(t, f, c, layer, features[net], nudge) })
	}
}

// onlyLoss finds failures of losses.
var onlyLoss = regexp.MustCompile(`\.s\d+\.loss: `)

func goldenFrozenLayer(t testing.TB, f *golden.File, c string, layer int, features func(layer int) ([]float32, ops.Shape, encoders.Net), nudge int) {
	cfg := ints(f.Arrays[c+".cfg"])
	n, kase := cfg[1], "probe "+c
	x, in, kind := features(layer)
	if want := ints(f.Arrays[c+".feat_shape"]); len(x) != want[0]*want[1]*want[2]*want[3] {
		t.Errorf("%s: %d feature values, want shape %v", kase, len(x), want)
	}
	compare(t, f, kase, c+".feat_sample", sampleOf(x, f.Arrays[c+".feat_sample"].Len()))
	classifier := encoders.Model{Net: kind}.Classifier(layer, cfg[2], "")
	h := newHead(t, classifier, in, n, uint64(cfg[6]), ints(f.Arrays[c+".y"]), 0.1)
	h.nudge = nudge
	h.step(t, f, kase, c, 0, x, nil)
	h.step(t, f, kase, c, 1, x, nil)
}

// frozenFeatures runs a network once and returns what gives its layers, the towers joined along the channels.
func frozenFeatures(t testing.TB, name string, seed uint64, n, size int) func(layer int) ([]float32, ops.Shape, encoders.Net) {
	t.Helper()
	method := "insdis"
	for _, e := range nets(t)[name].Entries {
		if strings.Contains(e.Name, "l_to_ab") {
			method = "cmc"
		}
	}
	net := fillNet(t, name, method, seed, size)
	x := golden.Image(seed, 100000, n, 3, size, size)
	views := [][]float32{x}
	if method == "cmc" {
		views = split(x, n, size*size)
	}
	var marks []string
	for i := range net.net.Layers() {
		marks = append(marks, "layer"+strconv.Itoa(i+1))
	}
	out := make([][][]float32, len(marks)) // by layer and tower
	shapes := make([]ops.Shape, len(marks))
	for v, g := range net.graphs {
		p, err := net.d.Compile(g, net.params[v], ops.Options{Batch: n, Outputs: marks, Direct: true})
		if err != nil {
			t.Fatal(err)
		}
		tape, err := p.Forward(views[v], n)
		if err != nil {
			t.Fatal(err)
		}
		for i := range marks {
			out[i] = append(out[i], append([]float32(nil), tape.Output(i)...))
			shapes[i] = p.OutputShape(i)
		}
		tape.Release()
	}
	return func(layer int) ([]float32, ops.Shape, encoders.Net) {
		parts, s := out[layer-1], shapes[layer-1]
		size := s.Len()
		var joined []float32
		for b := range n {
			for _, p := range parts {
				joined = append(joined, p[b*size:][:size]...)
			}
		}
		s.C *= len(parts)
		return joined, s, net.net
	}
}
