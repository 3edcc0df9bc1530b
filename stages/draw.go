package stages

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat/distuv"
)

// Purpose keeps the random draws of one sample apart: each has a stream of its own, so that adding a draw to one never
// changes another.
type Purpose uint64

// The purposes.
const (
	PurposeOrder Purpose = iota + 1
	PurposeCrop
	PurposeFlip
	PurposeJitter
	PurposeMixture
	PurposeSubstitute
	PurposeShuffle
	PurposeUnmix
	PurposeBank
	PurposeInit

	// PurposeOwn is the first that no stage of this package ever uses: stages of one's own count from it.
	PurposeOwn Purpose = 1 << 32
)

// Draw is the stream of random numbers of (seed, epoch, index, purpose). The same four give the same numbers on every
// machine, whoever asks and when.
func Draw(seed uint64, epoch, index int, purpose Purpose) *rand.Rand {
	h := mix(seed + 0x9E3779B97F4A7C15)
	h = mix(h ^ uint64(epoch)*0xD1B54A32D192ED03)
	return rand.New(rand.NewPCG(mix(h^uint64(index)*0x8CB92BA72F3D8DD7), mix(h+uint64(purpose)*0x9E3779B97F4A7C15)))
}

// mix is the finaliser of splitmix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// Rand is a stream of draws with the distributions that augmentation needs.
type Rand struct{ *rand.Rand }

// Between is uniform in [low, high).
func (r *Rand) Between(low, high float64) float64 { return between(r.Rand, low, high) }

// between rounds the product by itself: machines that fuse it with the sum would draw other numbers.
func between(r *rand.Rand, low, high float64) float64 { return low + float64((high-low)*r.Float64()) }

// Int is uniform in [low, high).
func (r *Rand) Int(low, high int) int { return low + r.IntN(high-low) }

// Beta has the beta distribution of two positive parameters.
func (r *Rand) Beta(a, b float64) float64 {
	if a == 1 && b == 1 {
		return r.Float64()
	}
	v := distuv.Beta{Alpha: a, Beta: b, Src: r.Rand}.Rand()
	if math.IsNaN(v) { // both gammas underflowed: all of the mass is at the ends
		v = 0
		if r.Float64() < a/(a+b) {
			v = 1
		}
	}
	return v
}
