//go:build cuda

package flows_test

import (
	"strings"
	"testing"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda"
)

// The device's bfloat16. Float32 follows the golden tests, with CONTRAFLOW_TEST_DEVICE=cuda. -test.short takes the smallest network.
func TestCUDAGoldenBF16(t *testing.T) {
	onCUDA(t)
	open := func() ops.Device {
		d, err := cuda.Open(cuda.Options{BF16: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	goldenBF16(t, open, 2e-2, func(net string) (wanted, rounds bool) {
		return !testing.Short() || strings.Contains(net, "resnet18"), true
	})
}
