package flows

// Accuracy is the share of rows of logits [·,k] whose label is among the top largest; the lower class wins a tie.
func Accuracy(logits []float32, labels []int, k, top int) float64 {
	right := 0
	for i, label := range labels {
		row := logits[i*k:][:k]
		above := 0
		for c, v := range row {
			if v > row[label] || (v == row[label] && c < label) {
				above++
			}
		}
		if above < top {
			right++
		}
	}
	return float64(right) / float64(max(len(labels), 1))
}
