package stages_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/contraflow/contraflow/stages"
)

// Whatever is drawn, a recipe addresses slots that exist and areas inside the image, and blends with weights in [0,1].
func TestMixtureWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		side := rapid.IntRange(32, 96).Draw(t, "size")
		m := stages.Mixture{
			Kind: rapid.SampledFrom([]string{"IM", "global", "region", "Cutout", "RandomErasing"}).Draw(t, "kind"),
			N:    50, H: side, W: rapid.IntRange(32, 96).Draw(t, "width"), Seed: rapid.Uint64().Draw(t, "seed"),
			InBatch:     rapid.Bool().Draw(t, "batch"),
			GlobalAlpha: rapid.Float64Range(0.01, 5).Draw(t, "alpha"), GlobalNum: rapid.IntRange(0, 3).Draw(t, "gnum"), GlobalProb: 0.7,
			RegionBeta: rapid.Float64Range(-1, 5).Draw(t, "beta"), RegionNum: rapid.IntRange(0, 3).Draw(t, "rnum"), RegionProb: 0.7, RegionDecay: 0.5,
			CutoutSize: rapid.IntRange(1, 32).Draw(t, "mask"), CutoutProb: 0.7, CutoutInside: rapid.Bool().Draw(t, "inside"),
			EraseProb: 0.7, EraseLow: 0.02, EraseHigh: 0.4, EraseAspect: 0.3, EraseMaxAttempt: 20,
		}
		p, err := m.Plan(t.Context(), stages.Plan{Epoch: 1, Step: 7, Index: []int{3, 1, 4, 15}})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range p.Mix.Donors {
			if d.Index < 0 || d.Index >= m.N || d.Copy >= p.Mix.Hosts || m.InBatch != (d.Copy >= 0) {
				t.Fatalf("donor %+v", d)
			}
		}
		for _, a := range p.Mix.Acts {
			if a.To < 0 || a.To >= p.Mix.Slots() || a.From >= p.Mix.Slots() || !(a.Lambda >= 0 && a.Lambda <= 1) {
				t.Fatalf("act %+v of %d slots", a, p.Mix.Slots())
			}
			if b := a.Box; b.Top < 0 || b.Left < 0 || b.Bottom > m.H || b.Right > m.W {
				t.Fatalf("act %+v leaves an image of %d×%d pixels", a, m.H, m.W)
			}
		}
	})
}
