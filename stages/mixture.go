package stages

import (
	"context"
	"fmt"
	"math"
)

// Kinds of mixture, by the values of the reference's --IM_type.
const (
	MixBoth   = "IM"     // region over global
	MixGlobal = "global" // blends with whole partners
	MixRegion = "region" // boxes pasted from partners
	MixCutout = "Cutout" // a square of one colour
	MixErase  = "RandomErasing"
)

// Mixture draws what happens to the samples of a batch after augmentation (Shen et al., arXiv:2003.05438): partners, weights
// and boxes. A sample stays its own instance: labels, memory rows and losses are not mixed. The two crops of a sample get
// the same weights, boxes and partners. It is safe for concurrent use.
//
// Axes are the reference's: what it calls x runs along the rows.
type Mixture struct {
	Kind string
	N    int // samples of the data set
	H, W int // of the crops
	Seed uint64
	// InBatch takes partners from the batch, as they are before any mixture, instead of decoding another sample afresh.
	InBatch bool

	GlobalAlpha, GlobalProb float64 // λ ~ Beta(α,α), tried GlobalNum times
	GlobalNum               int

	RegionBeta, RegionProb float64 // box of area 1-λ, λ ~ Beta(β,β); β ≤ 0 never
	RegionNum              int
	RegionDecay            float64 // of the sample, when the first attempt hits

	CutoutSize   int
	CutoutProb   float64
	CutoutInside bool
	CutoutColor  float32 // in normalised units

	EraseProb           float64
	EraseLow, EraseHigh float64 // share of the area
	EraseAspect         float64 // r: the aspect is in [r,1/r]
	EraseMaxAttempt     int
}

// Dice are the random draws of a mixture. They are taken in the reference's order, so that its own draws can be replayed.
type Dice interface {
	Float64() float64                  // in [0,1)
	Between(low, high float64) float64 // in [low,high)
	Int(low, high int) int             // in [low,high)
	Beta(a, b float64) float64
}

// Plan draws the recipe of a batch.
func (m *Mixture) Plan(_ context.Context, p Plan) (Plan, error) {
	r := &Recipe{Hosts: len(p.Index), Pool: len(p.Whole)}
	for slot, index := range p.Index {
		from := len(r.Donors)
		m.Draw(r, &Rand{Draw(m.Seed, p.Epoch, index, PurposeMixture)}, slot)
		for i := from; i < len(r.Donors); i++ {
			d := &r.Donors[i]
			d.Key = index + (1+i-from)*maxCrops*m.N
			switch {
			case d.Copy >= 0 && p.Whole != nil: // it may be another rank's: decoded again, it is the same
				d.Index = p.Whole[d.Copy]
				d.Key, d.Copy = d.Index, -1
			case d.Copy >= 0:
				d.Index = p.Index[d.Copy]
			}
		}
	}
	p.Mix = r
	return p, nil
}

// maxCrops is how many crops a sample has at most; donors have streams of draws beyond those of their host.
const maxCrops = 2

// Draw adds what happens to the sample in a slot.
func (m *Mixture) Draw(r *Recipe, dice Dice, slot int) {
	switch m.Kind {
	case MixBoth:
		m.global(r, dice, slot)
		m.region(r, dice, slot)
	case MixGlobal:
		m.global(r, dice, slot)
	case MixRegion:
		m.region(r, dice, slot)
	case MixCutout:
		m.cutout(r, dice, slot)
	case MixErase:
		m.erase(r, dice, slot)
	default:
		panic(fmt.Sprintf("stages: there is no mixture %q", m.Kind))
	}
}

func (m *Mixture) partner(r *Recipe, dice Dice) (slot int) {
	d := Donor{Copy: -1}
	if m.InBatch {
		pool := r.Pool
		if pool == 0 {
			pool = r.Hosts
		}
		d.Copy = dice.Int(0, pool)
	} else {
		d.Index = dice.Int(0, m.N)
	}
	r.Donors = append(r.Donors, d)
	return r.Hosts + len(r.Donors) - 1
}

func (m *Mixture) global(r *Recipe, dice Dice, slot int) {
	for range m.GlobalNum {
		if dice.Float64() > m.GlobalProb {
			continue
		}
		donor := m.partner(r, dice)
		r.Acts = append(r.Acts, Act{Kind: Blend, To: slot, From: donor, Lambda: dice.Beta(m.GlobalAlpha, m.GlobalAlpha)})
	}
}

// region pastes boxes. Its partners come from what it wraps: within IM they are blended themselves.
func (m *Mixture) region(r *Recipe, dice Dice, slot int) {
	for attempt := range m.RegionNum {
		if dice.Float64() > m.RegionProb || m.RegionBeta <= 0 {
			continue
		}
		lambda := dice.Beta(m.RegionBeta, m.RegionBeta)
		donor := m.partner(r, dice)
		if m.Kind == MixBoth {
			m.global(r, dice, donor)
		}
		box := Around(lambda, m.H, m.W, dice.Int(0, m.H), dice.Int(0, m.W))
		act := Act{Kind: Paste, To: slot, From: donor, Lambda: lambda, Box: box, Value: 1}
		if attempt == 0 {
			act.Value = float32(m.RegionDecay)
		}
		r.Acts = append(r.Acts, act)
	}
}

// Around is the box of area share 1-λ about a centre, cut off at the borders.
func Around(lambda float64, h, w, row, col int) Area {
	cut := math.Sqrt(1 - lambda)
	half := func(n int) int { return int(float64(n)*cut) / 2 }
	return clip(Area{Top: row - half(h), Bottom: row + half(h), Left: col - half(w), Right: col + half(w)}, h, w)
}

// cutout fills a square. Its centre may lie on the border, so that it can be cut off.
func (m *Mixture) cutout(r *Recipe, dice Dice, slot int) {
	if dice.Float64() > m.CutoutProb {
		return
	}
	half, offset := m.CutoutSize/2, 1-m.CutoutSize%2
	span := func(n int) (from, to int) {
		low, high := 0, n+offset
		if m.CutoutInside {
			low, high = half, n+offset-half
		}
		from = dice.Int(low, high) - half
		return max(from, 0), min(from+m.CutoutSize, n)
	}
	x1, x2 := span(m.W)
	y1, y2 := span(m.H)
	r.Acts = append(r.Acts, Act{Kind: Fill, To: slot, From: -1, Box: clip(Area{Top: x1, Bottom: x2, Left: y1, Right: y2}, m.H, m.W), Value: m.CutoutColor})
}

// erase fills a rectangle of random area and aspect with one random value. The aspect is drawn uniformly, not by its
// logarithm.
func (m *Mixture) erase(r *Recipe, dice Dice, slot int) {
	if dice.Float64() > m.EraseProb {
		return
	}
	for range m.EraseMaxAttempt {
		area := dice.Between(m.EraseLow, m.EraseHigh) * float64(m.H) * float64(m.W)
		aspect := dice.Between(m.EraseAspect, 1/m.EraseAspect)
		h, w := int(math.Sqrt(area*aspect)), int(math.Sqrt(area/aspect))
		if w >= m.W || h >= m.H {
			continue
		}
		x, y := dice.Int(0, m.W-w), dice.Int(0, m.H-h)
		box := clip(Area{Top: x, Bottom: x + w, Left: y, Right: y + h}, m.H, m.W)
		r.Acts = append(r.Acts, Act{Kind: Fill, To: slot, From: -1, Box: box, Value: float32(dice.Between(0, 1))})
		return
	}
}
