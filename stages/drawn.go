package stages

import "github.com/contraflow/contraflow/ops/pixel"

// Drawn are the random parameters of one crop.
type Drawn struct {
	Box    pixel.Box // in the whole picture
	Mirror bool
	Jitter *DrawnJitter // nil without jitter
}

// DrawnJitter are the parameters of grayscale and colour jitter, in the order in which they are applied: 0 brightness, 1
// contrast, 2 saturation, 3 hue.
type DrawnJitter struct {
	Gray   bool
	Order  []int
	Factor [3]float64
	Hue    float64
}

// Drawn are the parameters of crop k of a picture of w×h whose draws have a key: for messages and pictures of what was done.
func (d *Decode) Drawn(epoch, key, k, w, h int) Drawn {
	out := Drawn{Box: d.Rule(d.stream(epoch, key, k, PurposeCrop).Rand, w, h, d.CropLow, 1),
		Mirror: d.stream(epoch, key, k, PurposeFlip).Float64() < 0.5}
	if d.Jitter {
		j := drawJitter(d.stream(epoch, key, k, PurposeJitter))
		out.Jitter = &j
	}
	return out
}

// drawJitter draws RandomGrayscale(0.2) followed by ColorJitter(0.4, 0.4, 0.4, 0.4), whose four parts come in random order.
func drawJitter(r *Rand) DrawnJitter {
	j := DrawnJitter{Gray: r.Float64() < 0.2}
	j.Order = r.Perm(4)
	j.Factor = [3]float64{r.Between(0.6, 1.4), r.Between(0.6, 1.4), r.Between(0.6, 1.4)}
	j.Hue = r.Between(-0.4, 0.4)
	return j
}
