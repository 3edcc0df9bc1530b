package flows_test

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/ops/opstest/golden"
	"github.com/contraflow/contraflow/stages"
)

// tape replays the draws that the reference made, and fails the test when another kind or range is asked for.
type tape struct {
	t    *testing.T
	kase string
	kind []int64
	args []float32
	bits []int64
	at   int
}

// The kinds of draws on a tape.
const (
	drawRand = iota
	drawBeta
	drawInt
	drawChoice
	drawRandom
	drawUniform
)

func (r *tape) next(a, b float64, kinds ...int64) float64 {
	r.t.Helper()
	if r.at >= len(r.kind) {
		r.t.Fatalf("%s: more draws than the reference's %d", r.kase, len(r.kind))
	}
	ok := false
	for _, k := range kinds {
		ok = ok || k == r.kind[r.at]
	}
	if !ok {
		r.t.Fatalf("%s: draw %d: asked for kind %v, the reference drew kind %d", r.kase, r.at, kinds, r.kind[r.at])
	}
	if k := r.kind[r.at]; k != drawRand && k != drawRandom {
		if lo, hi := r.args[2*r.at], r.args[2*r.at+1]; math.Abs(float64(lo)-a) > 1e-6 || math.Abs(float64(hi)-b) > 1e-6 {
			r.t.Errorf("%s: draw %d: asked for (%v,%v), the reference for (%v,%v)", r.kase, r.at, a, b, lo, hi)
		}
	}
	v := math.Float64frombits(uint64(r.bits[r.at]))
	if k := r.kind[r.at]; k == drawInt || k == drawChoice {
		v = float64(asInt(r.bits[r.at]))
	}
	r.at++
	return v
}

// asInt reads an integer draw, stored as the bits of a float64.
func asInt(bits int64) int { return int(math.Float64frombits(uint64(bits))) }

func (r *tape) Float64() float64                  { return r.next(0, 0, drawRand, drawRandom) }
func (r *tape) Between(low, high float64) float64 { return r.next(low, high, drawUniform) }
func (r *tape) Beta(a, b float64) float64         { return r.next(a, b, drawBeta) }
func (r *tape) Int(low, high int) int {
	return int(r.next(float64(low), float64(high), drawInt, drawChoice))
}

// mixtureOf reads "im: images_a, g_alpha=1, …" from the file's notes.
func mixtureOf(t *testing.T, f *golden.File, c string) (m stages.Mixture, images string) {
	t.Helper()
	for _, n := range f.Meta.Notes {
		name, text, ok := strings.Cut(n, ":")
		if !ok || name != c {
			continue
		}
		images, text, _ = strings.Cut(strings.TrimSpace(text), ",")
		v := map[string]float64{}
		for _, part := range strings.Split(text, ",") {
			key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			v[key] = number(t, value)
		}
		m.GlobalAlpha, m.GlobalNum, m.GlobalProb = v["alpha"]+v["g_alpha"], int(v["num_mix"]+v["g_num_mix"]), v["prob"]+v["g_prob"]
		m.RegionBeta, m.RegionNum, m.RegionProb, m.RegionDecay = v["beta"]+v["r_beta"], int(v["num_mix"]+v["r_num_mix"]), v["prob"]+v["r_prob"], v["decay"]+v["r_decay"]
		m.CutoutSize, m.CutoutProb, m.CutoutInside, m.CutoutColor = int(v["mask_size"]), v["p"], v["cutout_inside"] == 1, float32(v["mask_color"])
		m.EraseProb, m.EraseLow, m.EraseHigh, m.EraseAspect, m.EraseMaxAttempt = v["p"], v["sl"], v["sh"], v["min_aspect"], int(v["max_attempt"])
		switch {
		case v["g_alpha"] > 0:
			m.Kind, m.GlobalNum, m.RegionNum = stages.MixBoth, int(v["g_num_mix"]), int(v["r_num_mix"])
		case v["alpha"] > 0:
			m.Kind = stages.MixGlobal
		case v["beta"] > 0:
			m.Kind = stages.MixRegion
		case v["mask_size"] > 0:
			m.Kind = stages.MixCutout
		case v["max_attempt"] > 0:
			m.Kind = stages.MixErase
		default:
			t.Fatalf("%s: no mixture is known with the parameters %q", c, text)
		}
		return m, images
	}
	t.Fatalf("05_mixture: the notes say nothing of case %s", c)
	return m, ""
}

// TestGoldenMixture replays the reference's draws: the same partners, weights and boxes give the same images.
func TestGoldenMixture(t *testing.T) {
	f := open(t, "05_mixture.npz")
	for _, c := range cases(t, f) {
		if c == "bbox" {
			goldenBoxes(t, f)
			continue
		}
		m, name := mixtureOf(t, f, c)
		images := f.Arrays[name]
		m.N, m.H, m.W = images.Shape[0], images.Shape[2], images.Shape[3]
		size := images.Len() / m.N
		off := ints(f.Arrays[c+".tape_off"])
		var got []float32
		for i := range m.N {
			from, to := off[i], off[i+1]
			dice := &tape{t: t, kase: c, kind: f.Arrays[c+".tape_kind"].I[from:to], args: f.Arrays[c+".tape_args"].F[2*from : 2*to], bits: f.Arrays[c+".tape_bits"].I[from:to]}
			r := &stages.Recipe{Hosts: 1}
			m.Draw(r, dice, 0)
			if dice.at != to-from {
				t.Errorf("%s: image %d took %d draws, the reference %d", c, i, dice.at, to-from)
			}
			slots := append([]float32(nil), images.F[i*size:][:size]...)
			for _, d := range r.Donors {
				slots = append(slots, images.F[d.Index*size:][:size]...)
			}
			r.Apply(slots, images.Shape[1], m.H, m.W)
			got = append(got, slots[:size]...)
		}
		compare(t, f, "mixture "+c, c+".out", got)
	}
}

func goldenBoxes(t *testing.T, f *golden.File) {
	size, centre := ints(f.Arrays["bbox.size"]), ints(f.Arrays["bbox.cxcy"])
	var got []float32
	for i, bits := range f.Arrays["bbox.lam_bits"].I {
		b := stages.Around(math.Float64frombits(uint64(bits)), size[1], size[2], centre[2*i], centre[2*i+1])
		got = append(got, float32(b.Top), float32(b.Left), float32(b.Bottom), float32(b.Right))
	}
	var worst float64
	for i, v := range ints(f.Arrays["bbox.box"]) {
		worst = max(worst, math.Abs(float64(got[i])-float64(v)))
	}
	note(t, "mixture boxes", "bbox.box", worst, 0)
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
