package flows

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cpu"
	"github.com/contraflow/contraflow/ops/cuda"
)

// deviceChoice is --device, read: the processor, a GPU by its number, or whichever there is.
type deviceChoice struct {
	gpu, auto bool
	ordinal   int
}

// parseDevice reads auto, cpu, cuda or cuda:N.
func parseDevice(name string) (c deviceChoice, err error) {
	switch kind, number, numbered := strings.Cut(name, ":"); {
	case name == "", name == "auto":
		c.gpu, c.auto = cuda.Built, true
	case name == "cpu":
	case kind == "cuda":
		c.gpu = true
		if numbered {
			if c.ordinal, err = strconv.Atoi(number); err != nil || c.ordinal < 0 {
				return c, fmt.Errorf("--device %q: after cuda: want a number from 0", name)
			}
		}
	default:
		return c, fmt.Errorf("--device %q: choose auto, cpu, cuda or cuda:N", name)
	}
	return c, nil
}

// openDevice opens the device that --device names. auto takes the first GPU when the program was built for it and the machine
// has one, otherwise the processor.
func openDevice(o Options) (ops.Device, error) {
	c, err := parseDevice(o.Net.Device)
	if err == nil {
		err = CheckCount("threads", o.Net.Threads, "one a core")
	}
	if err != nil {
		return nil, err
	}
	if c.gpu {
		d, err := cuda.Open(cuda.Options{Ordinal: c.ordinal, BF16: o.Net.AMP, TF32: o.Net.TF32, Graphs: o.Net.CUDAGraph})
		if err == nil || !c.auto || !errors.Is(err, cuda.ErrNoDevice) {
			if err != nil {
				err = fmt.Errorf("--device %s: %w", o.Net.Device, err)
			}
			return d, err
		}
	}
	return cpu.Open(cpu.Options{Threads: o.Net.Threads, BF16: o.Net.AMP})
}

// DeviceMemory is how many bytes the run holds on a GPU, 0 on the processor.
func (r *Run) DeviceMemory() int64 {
	m, ok := r.net.device.(interface {
		Memory() (held, free, total int64)
	})
	if !ok {
		return 0
	}
	held, _, _ := m.Memory()
	return held
}
