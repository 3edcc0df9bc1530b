package flows

import "github.com/contraflow/contraflow/stages"

// mixes says whether samples are mixed with others, or covered, before they are encoded.
func (r *Run) mixes() bool { return r.o.Mix.On && r.o.Mix.Type != "unmix" }

// unmixes says whether every batch gets a mixed view of its own with a weighted loss.
func (r *Run) unmixes() bool { return r.o.Mix.On && r.o.Mix.Type == "unmix" }

func (r *Run) newMixture() *stages.Mixture {
	m := r.o.Mix
	x := &stages.Mixture{
		Kind: m.Type, N: r.data.Len(), H: r.o.Data.ImageSize, W: r.o.Data.ImageSize, Seed: uint64(r.o.Run.Seed), InBatch: m.Partner == "batch",
		GlobalAlpha: m.GAlpha, GlobalNum: m.GNum, GlobalProb: m.GProb,
		RegionBeta: m.RBeta, RegionNum: m.RNum, RegionProb: m.RProb, RegionDecay: m.RDecay,
		CutoutSize: int(m.MaskSize), CutoutProb: m.CutoutP, CutoutInside: m.CutoutInside, CutoutColor: float32(m.MaskColor),
		EraseProb: m.EraseP, EraseAspect: m.MinAspect, EraseMaxAttempt: m.MaxAttempt,
	}
	if len(m.AreaRange) == 2 {
		x.EraseLow, x.EraseHigh = m.AreaRange[0], m.AreaRange[1]
	}
	return x
}
