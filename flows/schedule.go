package flows

import "math"

// Rate is the learning rate of an epoch, counted from 1: multiplied by the decay rate once for every decay epoch that lies
// strictly before it, in float64. (The reference's NumPy squares 0.1 and 0.2 one unit in the last place low.) With Cosine it follows half a cosine down to a tenth of
// three decays, stepped at the start of the epoch, as the reference's probes do. A warm-up rises linearly to it.
func (o OptimOptions) Rate(epoch int) float64 {
	lr := o.LR
	if o.Cosine {
		least := o.LR * math.Pow(o.DecayRate, 3) * 0.1
		lr = least + (o.LR-least)*(1+math.Cos(math.Pi*float64(epoch)/float64(o.Epochs)))/2
	} else {
		n := 0
		for _, d := range o.DecayEpochs {
			if epoch > d {
				n++
			}
		}
		if n > 0 {
			lr = o.LR * math.Pow(o.DecayRate, float64(n))
		}
	}
	if epoch <= o.WarmEpochs {
		lr *= float64(epoch) / float64(o.WarmEpochs+1)
	}
	return lr
}
