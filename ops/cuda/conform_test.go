//go:build cuda

package cuda_test

import (
	"errors"
	"os"
	"testing"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda"
	"github.com/contraflow/contraflow/ops/opstest"
)

// open opens the first device, the fake one in make test-cuda-fake. Without any the test is skipped, unless
// CONTRAFLOW_CUDA=required.
func open(t testing.TB, o cuda.Options) ops.Device {
	t.Helper()
	d, err := cuda.Open(o)
	if errors.Is(err, cuda.ErrNoDevice) && os.Getenv("CONTRAFLOW_CUDA") != "required" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestConform(t *testing.T) { opstest.Run(t, open(t, cuda.Options{})) }
