package main

import (
	"testing"

	"github.com/contraflow/contraflow/stages/stagetest"
)

func Example() {
	main()
	// Output:
	// [0.9 0.7 0.3]
	// [0.8 0.6 0.5]
}

func TestHardNegatives(t *testing.T) {
	h := HardNegatives{Keep: 1}
	stagetest.Run(t, h.Run, func() [][]float64 { return [][]float64{{1, 0.2, 0.4}, {0.5, 0.1}} }, true)
	stagetest.Fails(t, h.Run, []float64{1})
}
