//go:build cuda

package cuda

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops/cuda/cudnn"
)

// planCache remembers which of cuDNN's engines was the fastest for a convolution.
type planCache map[string]engine

type engine struct {
	Index        int     // among all that cuDNN lists
	Milliseconds float64 // of one run, when it was chosen
}

func (d *Device) plansPath() string {
	return filepath.Join(d.cache, fmt.Sprintf("engines-%s-cudnn%d.json", d.arch, d.dnn.Version()))
}

// readPlans is empty when there is no file, or one that cannot be read: it is then written anew.
func readPlans(path string) planCache {
	p := planCache{}
	if text, err := os.ReadFile(path); err == nil {
		if json.Unmarshal(text, &p) != nil {
			return planCache{}
		}
	}
	return p
}

func (d *Device) savePlans() error {
	text, err := json.MarshalIndent(d.plans, "", " ")
	if err != nil {
		return err
	}
	return replace(d.plansPath(), append(text, '\n'))
}

const (
	maxWorkspace = 1 << 30
	candidates   = 10 // engines that are timed
	timedRuns    = 3
)

var errNoEngine = errors.New("no engine adds to what is there")

// plan is the engine for a convolution: the one remembered, the first that cuDNN proposes (untimed), or the fastest of some.
func (d *Device) plan(c cudnn.Conv, untimed bool) (*cudnn.Plan, error) {
	c.MaxWorkspace = maxWorkspace
	c.BF16, c.TF32 = d.o.BF16, d.o.TF32
	if p, ok := d.convs[c]; ok {
		if p == nil {
			return nil, errNoEngine
		}
		return p, d.grow(&d.space, p.Workspace, "the workspace of a convolution")
	}
	key := fmt.Sprintf("%s %v, add %t, bfloat16 %t, tf32 %t", d.name, c, c.Add, c.BF16, c.TF32)
	var p *cudnn.Plan
	if known, ok := d.plans[key]; ok && !untimed {
		if list, err := d.dnn.Plans(c, 1, known.Index); err == nil {
			p = list[0]
		}
	}
	if p == nil {
		limit := candidates
		if untimed {
			limit = 1
		}
		list, err := d.dnn.Plans(c, limit, -1)
		var ms float64
		if err == nil {
			p, ms, err = d.fastest(c, list)
		}
		if err != nil {
			if c.Add { // it is computed apart, and not asked for again
				d.convs[c] = nil
			}
			return nil, err
		}
		if !untimed {
			d.plans[key] = engine{p.Index, ms}
			if err := d.savePlans(); err != nil {
				return nil, fmt.Errorf("remember engines: %w: name another folder in CONTRAFLOW_CACHE", err)
			}
		}
	}
	if err := d.grow(&d.space, max(p.Workspace, 256), "the workspace of a convolution"); err != nil {
		return nil, err
	}
	d.convs[c] = p
	return p, nil
}

// fastest times every plan on buffers of its own, and closes the others. It tells the milliseconds of the one it keeps, unless
// that was alone.
func (d *Device) fastest(c cudnn.Conv, list []*cudnn.Plan) (best *cudnn.Plan, least float64, err error) {
	if len(list) == 1 {
		return list[0], 0, nil
	}
	defer func() {
		for _, l := range list {
			if l != best {
				l.Close()
			}
		}
	}()
	p, q := c.Out()
	var most int64
	for _, l := range list {
		most = max(most, l.Workspace)
	}
	size := int64(d.actSize())
	sizes := [4]int64{size * int64(c.N*c.H*c.W*c.C), size * int64(c.K*c.R*c.S*c.C), size * int64(c.N*p*q*c.K), max(most, 256)}
	var buffers [4]cu.DevicePtr
	defer func() {
		for _, p := range buffers {
			err = errors.Join(err, d.free(p))
		}
		if err != nil {
			best = nil
		}
	}()
	for i, n := range sizes {
		if buffers[i], err = d.alloc(n, "buffers to time convolutions", "lower --batch_size"); err != nil {
			return nil, 0, err
		}
		if err := cu.MemsetD8Async(buffers[i], 0, n, d.compute); err != nil {
			return nil, 0, err
		}
	}
	start, err := cu.MakeEvent(cu.DefaultEvent)
	if err != nil {
		return nil, 0, err
	}
	defer cu.DestroyEvent(&start)
	end, err := cu.MakeEvent(cu.DefaultEvent)
	if err != nil {
		return nil, 0, err
	}
	defer cu.DestroyEvent(&end)
	run := func(l *cudnn.Plan) error {
		return l.Run(uintptr(buffers[0]), uintptr(buffers[1]), uintptr(buffers[2]), uintptr(buffers[3]))
	}
	var refused error
	for _, l := range list {
		if err := run(l); err != nil { // the first run may load code; some engines only refuse now
			refused = fmt.Errorf("%v: %w", c, err)
			continue
		}
		if err := start.Record(d.compute); err != nil {
			return nil, 0, err
		}
		for range timedRuns {
			if err := run(l); err != nil {
				return nil, 0, fmt.Errorf("%v: %w", c, err)
			}
		}
		if err := end.Record(d.compute); err != nil {
			return nil, 0, err
		}
		if err := end.Synchronize(); err != nil {
			return nil, 0, fmt.Errorf("%v: %w", c, err)
		}
		ms, err := start.Elapsed(end)
		if err != nil {
			return nil, 0, err
		}
		if best == nil || ms/timedRuns < least {
			best, least = l, ms/timedRuns
		}
	}
	if best == nil {
		return nil, 0, refused
	}
	return best, least, nil
}
