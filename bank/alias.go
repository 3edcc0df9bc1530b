package bank

import "fmt"

// Alias draws from any distribution in constant time (Walker 1977), with the reference's table, built in float32. The
// reference only ever gives it equal weights, for which every column is accepted: a uniform draw.
type Alias struct {
	Prob []float32 // probability that a column is kept
	Else []int32   // what it gives otherwise
}

// NewAlias builds the table of unnormalised weights, none negative, not all zero.
func NewAlias(weights []float32) (*Alias, error) {
	var sum float32
	for i, w := range weights {
		if !(w >= 0) {
			return nil, fmt.Errorf("bank: weight %d is %v: must not be negative", i, w)
		}
		sum += w
	}
	if !(sum > 0) {
		return nil, fmt.Errorf("bank: %d weights with sum %v: must be positive", len(weights), sum)
	}
	if sum <= 1 {
		sum = 1 // the reference normalises only what exceeds 1
	}
	a := &Alias{Prob: make([]float32, len(weights)), Else: make([]int32, len(weights))}
	var smaller, larger []int
	place := func(i int) {
		if a.Prob[i] < 1 {
			smaller = append(smaller, i)
		} else {
			larger = append(larger, i)
		}
	}
	for i, w := range weights {
		a.Prob[i] = float32(len(weights)) * float32(w/sum)
		place(i)
	}
	for len(smaller) > 0 && len(larger) > 0 {
		small, large := smaller[len(smaller)-1], larger[len(larger)-1]
		smaller, larger = smaller[:len(smaller)-1], larger[:len(larger)-1]
		a.Else[small] = int32(large)
		a.Prob[large] = float32(a.Prob[large]-1) + a.Prob[small]
		place(large)
	}
	for _, rest := range append(smaller, larger...) {
		a.Prob[rest] = 1
	}
	return a, nil
}

// Pick is the result of a column drawn uniformly that was kept or not.
func (a *Alias) Pick(column int, kept bool) int {
	if kept {
		return column
	}
	return int(a.Else[column])
}
