package ops

import (
	"fmt"
	"math"
)

// SoftmaxCrossEntropy is the mean over n samples of -log softmax(logits)[label], in nats; dlogits receives its gradient.
// logits and dlogits are [n,k].
func SoftmaxCrossEntropy(dlogits, logits []float32, labels []int, k int) float64 {
	if len(logits) != len(labels)*k || len(dlogits) != len(logits) {
		panic(fmt.Sprintf("ops: cross entropy of %d logits, %d gradients, %d labels, %d classes", len(logits), len(dlogits), len(labels), k))
	}
	n := float64(len(labels))
	var loss float64
	for b, label := range labels {
		row, d := logits[b*k:][:k], dlogits[b*k:][:k]
		most := math.Inf(-1)
		for _, v := range row {
			most = max(most, float64(v))
		}
		var sum float64
		for _, v := range row {
			sum += math.Exp(float64(v) - most)
		}
		loss += most + math.Log(sum) - float64(row[label])
		for i, v := range row {
			d[i] = float32(math.Exp(float64(v)-most) / sum / n)
		}
		d[label] -= float32(1 / n)
	}
	return loss / n
}

// ApplyDropout is dst = src·mask/(1-rate), mask holding 1 for kept values and 0 for dropped ones.
func ApplyDropout(dst, src, mask []float32, rate float64) {
	scale := float32(1 / (1 - rate))
	for i, v := range src {
		dst[i] = v * mask[i] * scale
	}
}

// Adam is torch.optim.Adam over one slice: coupled L2 decay, bias correction, step counted from 1.
type Adam struct {
	LR, Beta1, Beta2, Eps, Decay float64
}

// Step updates p, the first moment m and the second moment v from gradient g.
func (a Adam) Step(p, g, m, v []float32, step int) {
	c1 := 1 - math.Pow(a.Beta1, float64(step))
	c2 := math.Sqrt(1 - math.Pow(a.Beta2, float64(step)))
	for i, gi := range g {
		d := float64(gi) + a.Decay*float64(p[i])
		mi := a.Beta1*float64(m[i]) + (1-a.Beta1)*d
		vi := a.Beta2*float64(v[i]) + (1-a.Beta2)*d*d
		m[i], v[i] = float32(mi), float32(vi)
		p[i] = float32(float64(p[i]) - a.LR/c1*mi/(math.Sqrt(vi)/c2+a.Eps))
	}
}

// SGD is torch.optim.SGD over one slice: v = momentum·v + g + decay·p, p -= lr·v, v zero before the first step.
func SGD(p, g, v []float32, lr, momentum, decay float64) {
	for i := range p {
		d := float64(g[i]) + decay*float64(p[i])
		vi := momentum*float64(v[i]) + d
		v[i] = float32(vi)
		p[i] = float32(float64(p[i]) - lr*vi)
	}
}
