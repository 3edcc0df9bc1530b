package flows_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/bank"
	"github.com/contraflow/contraflow/ops/opstest/golden"
	"github.com/contraflow/contraflow/stages"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/ops"
)

func ints(a *golden.Array) []int {
	out := make([]int, len(a.I))
	for i, v := range a.I {
		out[i] = int(v)
	}
	return out
}

func int32s(a *golden.Array) []int32 {
	out := make([]int32, len(a.I))
	for i, v := range a.I {
		out[i] = int32(v)
	}
	return out
}

// must is what a bank in memory gives: only a device fails.
func must[T any](given T, err error) T {
	if err != nil {
		panic(err)
	}
	return given
}

// scored runs an objective over given features.
func scored(t testing.TB, ids []int, out ...[]float32) *stages.Scores {
	t.Helper()
	return &stages.Scores{Features: &stages.Features{Batch: &stages.Batch{Plan: stages.Plan{Index: ids}}, Out: out}}
}

func lossOptions(method string, f *golden.File, c string, softmax bool, k int) flows.Options {
	o := flows.Defaults(method)
	hyper := f.Arrays[c+".hyper"].F
	o.Loss.Softmax, o.Loss.K, o.Loss.T = softmax, k, float64(hyper[0])
	if len(hyper) > 1 {
		o.Loss.M = float64(hyper[1])
	}
	if method == "moco" && hyper[0] == float32(0.07) {
		o.Loss.T = 0.07 // the reference's MoCo keeps it in float64
	}
	return o
}

// Consecutive steps of the three contrasts, with both losses: outputs, losses, gradients, banks, constants.
func TestGoldenNCE(t *testing.T) {
	f := open(t, "04_nce.npz")
	for _, c := range cases(t, f) {
		at := func(s string) *golden.Array { return f.Arrays[c+"."+s] }
		kase := "nce " + c
		switch {
		case strings.HasPrefix(c, "cmc"), strings.HasPrefix(c, "ins"), strings.HasPrefix(c, "moco"):
		case strings.HasPrefix(c, "moment"):
			goldenAverage(t, f, kase)
			continue
		case strings.HasPrefix(c, "alias"):
			goldenAlias(t, f, c)
			continue
		default:
			t.Fatalf("%s: no test knows this case", c)
		}
		cfg := ints(at("cfg"))
		d, n, k, steps, softmax := cfg[1], cfg[2], cfg[3], cfg[4], cfg[5] == 1
		switch {
		case strings.HasPrefix(c, "cmc"):
			o, err := flows.NewCMC(lossOptions("cmc", f, c, softmax, k), []string{"l", "ab"}, n, d)
			if err != nil {
				t.Fatal(err)
			}
			copy(must(o.Memories[0].Rows()), at("memory_l0").F)
			copy(must(o.Memories[1].Rows()), at("memory_ab0").F)
			for s := range steps {
				p := fmt.Sprintf("%s.s%d.", c, s)
				l, ab := at(fmt.Sprint("l", s)).F, at(fmt.Sprint("ab", s)).F
				ids, index := ints(at(fmt.Sprint("y", s))), int32s(at(fmt.Sprint("idx", s)))
				outs := make([][]float32, 2)
				for i, q := range [][]float32{l, ab} {
					outs[i] = make([]float32, len(index))
					z := *o.Losses[i] // scored apart, so that the constant is set once
					must(z.Score(bank.Batch{Queries: q, Rows: must(o.Memories[1-i].Rows()), D: d, K: k, Index: index}, make([]float32, len(q)), outs[i]))
				}
				sc := scored(t, ids, l, ab)
				if err := o.ScoreWith(sc, index); err != nil {
					t.Fatal(err)
				}
				v := map[string]float64{}
				for _, x := range sc.Values {
					v[x.Name] = x.V
				}
				compare(t, f, kase, p+"out_l", outs[0])
				compare(t, f, kase, p+"out_ab", outs[1])
				compare(t, f, kase, p+"losses", []float32{float32(sc.Loss), float32(v["l_loss"]), float32(v["ab_loss"])})
				compare(t, f, kase, p+"prob", []float32{float32(v["l_prob"]), float32(v["ab_prob"])})
				compare(t, f, kase, p+"dl", sc.D[0])
				compare(t, f, kase, p+"dab", sc.D[1])
				compare(t, f, kase, p+"memory_l", must(o.Memories[0].Rows()))
				compare(t, f, kase, p+"memory_ab", must(o.Memories[1].Rows()))
				compare(t, f, kase, p+"params", must(o.State(nil))[0].Data)
			}
		case strings.HasPrefix(c, "ins"):
			o, err := flows.NewInsDis(lossOptions("insdis", f, c, softmax, k), n, d)
			if err != nil {
				t.Fatal(err)
			}
			copy(must(o.Memory.Rows()), at("memory0").F)
			for s := range steps {
				p := fmt.Sprintf("%s.s%d.", c, s)
				x, index := at(fmt.Sprint("x", s)).F, int32s(at(fmt.Sprint("idx", s)))
				out := make([]float32, len(index))
				z := *o.Loss
				must(z.Score(bank.Batch{Queries: x, Rows: must(o.Memory.Rows()), D: d, K: k, Index: index}, make([]float32, len(x)), out))
				sc := scored(t, ints(at(fmt.Sprint("y", s))), x)
				if err := o.ScoreWith(sc, index); err != nil {
					t.Fatal(err)
				}
				compare(t, f, kase, p+"out", out)
				compare(t, f, kase, p+"loss", []float32{float32(sc.Loss)})
				compare(t, f, kase, p+"prob", []float32{float32(sc.Values[1].V)})
				compare(t, f, kase, p+"dx", sc.D[0])
				compare(t, f, kase, p+"memory", must(o.Memory.Rows()))
				compare(t, f, kase, p+"params", must(o.State(nil))[0].Data)
			}
		default:
			o, err := flows.NewMoCo(lossOptions("moco", f, c, softmax, at("memory0").Shape[0]), n, d)
			if err != nil {
				t.Fatal(err)
			}
			copy(must(o.Queue.Rows()), at("memory0").F)
			for s := range steps {
				p := fmt.Sprintf("%s.s%d.", c, s)
				q, key := at(fmt.Sprint("q", s)).F, at(fmt.Sprint("k", s)).F
				out := make([]float32, len(q)/d*(o.Queue.K+1))
				z := *o.Loss
				must(z.Score(bank.Batch{Queries: q, Positives: key, Rows: must(o.Queue.Rows()), D: d, K: o.Queue.K}, make([]float32, len(q)), out))
				sc := scored(t, make([]int, len(q)/d), q, key)
				if err := o.Score(sc); err != nil {
					t.Fatal(err)
				}
				compare(t, f, kase, p+"out", out)
				compare(t, f, kase, p+"loss", []float32{float32(sc.Loss)})
				compare(t, f, kase, p+"prob", []float32{float32(sc.Values[1].V)})
				compare(t, f, kase, p+"dq", sc.D[0])
				compare(t, f, kase, p+"memory", must(o.Queue.Rows()))
				if want := f.Truth(p + "index").I[0]; int64(o.Queue.Pointer) != want {
					t.Errorf("%s: step %d: queue position %d, want %d", kase, s, o.Queue.Pointer, want)
				}
				if a := f.Truth(p + "params"); len(a.I) == 1 && float64(a.I[0]) != o.Loss.Z {
					t.Errorf("%s: step %d: Z %v, want %d", kase, s, o.Loss.Z, a.I[0])
				}
			}
		}
	}
}

// goldenAverage checks the moving average of the momentum encoder. The cases are named moment_M, and M may hold a dot.
func goldenAverage(t *testing.T, f *golden.File, kase string) {
	for name, after := range f.Arrays {
		c, ok := strings.CutSuffix(name, ".after")
		if !ok || !strings.HasPrefix(c, "moment_") {
			continue
		}
		keep, err := strconv.ParseFloat(strings.TrimPrefix(c, "moment_"), 64)
		if err != nil {
			t.Fatal(err)
		}
		g := ops.NewGraph(ops.Shape{C: after.Shape[1], H: 1, W: 1})
		g.Linear(g.Input(), "w", after.Shape[0], false)
		key, query := build(t, g), build(t, g)
		before := append([]float32(nil), f.Arrays[c+".ema"].F...)
		if keep > 0 && maxDiff(before, after.F) == 0 {
			// The file's generator stored the tensor that it then changed in place: solve for what it was.
			for i, v := range after.F {
				before[i] = float32((float64(v) - (1-keep)*float64(f.Arrays[c+".p"].F[i])) / keep)
			}
		}
		key.write("w.weight", before)
		from, err := key.d.NewParams(query.g)
		if err != nil {
			t.Fatal(err)
		}
		if err := from.Write("w.weight", f.Arrays[c+".p"].F); err != nil {
			t.Fatal(err)
		}
		if err := key.p.Average(from, keep); err != nil {
			t.Fatal(err)
		}
		compare(t, f, kase, name, key.read("w.weight", after.Len()))
	}
}

// goldenAlias checks the table of a distribution and the draws made from it.
func goldenAlias(t *testing.T, f *golden.File, c string) {
	at := func(s string) *golden.Array { return f.Arrays[c+"."+s] }
	a, err := bank.NewAlias(at("unigrams").F)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, f, "nce "+c, c+".prob", a.Prob)
	for i, v := range a.Else {
		if int64(v) != at("alias").I[i] {
			t.Errorf("%s: alias of %d is %d, want %d", c, i, v, at("alias").I[i])
		}
	}
	for i, column := range at("kk").I {
		if got := a.Pick(int(column), at("b").I[i] == 1); int64(got) != at("draw").I[i] {
			t.Errorf("%s: draw %d is %d, want %d", c, i, got, at("draw").I[i])
		}
	}
}
