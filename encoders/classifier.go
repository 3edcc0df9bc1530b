package encoders

import "github.com/contraflow/contraflow/ops"

// Classifier is the linear probe behind a layer of frozen features (spec of the reference's LinearClassifierAlexNet and
// LinearClassifierResNet): an adaptive pool to Bins×Bins for feature maps, and one linear layer with bias. Its input size is
// taken from the features, so that every layer of every encoder has one.
type Classifier struct {
	Labels int
	Bins   int  // 0 keeps the map as it is
	Max    bool // adaptive maximum instead of mean
	Name   string
}

// Classifier is the reference's probe of a layer: its pool, and the name of its linear layer, which the reference misspells
// for ResNets. pool is "max", "avg", or empty for the default.
func (m Model) Classifier(layer, labels int, pool string) Classifier {
	c := Classifier{Labels: labels, Name: "classifier.LinearClassifier"}
	bins := []int{10, 6, 5, 5}
	c.Max = true
	if _, ok := m.Net.(AlexNet); !ok {
		c.Name, bins, c.Max = "classifier.LiniearClassifier", []int{8, 6, 4, 3}, false
	}
	if pool != "" {
		c.Max = pool == "max"
	}
	if layer <= len(bins) {
		c.Bins = bins[layer-1]
	}
	return c
}

// Graph builds the probe for features of a shape; the mark is "logits".
func (c Classifier) Graph(in ops.Shape) *ops.Graph {
	g := ops.NewGraph(in)
	x := g.Input()
	switch {
	case c.Bins > 0 && c.Max:
		x = g.AdaptiveMaxPool(x, c.Bins)
	case c.Bins > 0:
		x = g.AdaptiveAvgPool(x, c.Bins)
	}
	g.Mark("logits", g.Linear(g.Flatten(x), c.Name, c.Labels, true))
	return g
}
