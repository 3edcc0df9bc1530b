package encoders

import (
	"math"
	"math/rand/v2"
	"strings"

	"github.com/contraflow/contraflow/ops"
)

// Init draws the initial weights of a tower as the reference does: convolutions of ResNets from N(0, 2/(kh·kw·out)),
// everything else with weights from U(±1/√fan_in); batch norms start as the identity. With uniformGamma AlexNet's γ
// comes from U(0,1), which is what PyTorch up to 1.1 did. The draws depend on the seed and the tensors alone.
func Init(p ops.Params, seed uint64, uniformGamma bool) error {
	var fanIn int
	for i, s := range p.Specs() {
		if !s.Role.Trainable() {
			continue
		}
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		v := make([]float32, s.Len())
		alex := strings.HasPrefix(s.Name, "conv_block") || strings.HasPrefix(s.Name, "fc6") || strings.HasPrefix(s.Name, "fc7")
		switch s.Role {
		case ops.Weight:
			fanIn = s.FanIn()
			// The decoder's last convolution has few channels out: fan-out would make its values large.
			if len(s.Shape) == 4 && !alex && s.Name != "decoder.out.weight" {
				std := math.Sqrt(2 / float64(s.Shape[2]*s.Shape[3]*s.Shape[0]))
				for j := range v {
					v[j] = float32(std * r.NormFloat64())
				}
				break
			}
			uniform(v, r, 1/math.Sqrt(float64(fanIn)))
		case ops.Bias:
			uniform(v, r, 1/math.Sqrt(float64(fanIn)))
		case ops.Gamma:
			for j := range v {
				v[j] = 1
				if alex && uniformGamma {
					v[j] = r.Float32()
				}
			}
		}
		if err := p.Write(s.Name, v); err != nil {
			return err
		}
	}
	return nil
}

func uniform(v []float32, r *rand.Rand, bound float64) {
	for i := range v {
		v[i] = float32(bound * (2*r.Float64() - 1))
	}
}
