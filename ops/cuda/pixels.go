//go:build cuda

package cuda

import (
	"fmt"

	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops"
)

var _ ops.PixelProgram = (*program)(nil)

// ForwardPixels implements ops.PixelProgram. rgb may be changed when it returns.
func (pr *program) ForwardPixels(rgb []byte, n int, r *ops.Rendering) (ops.Tape, error) {
	in := pr.graph.Nodes[0].Out
	if n < 1 || n > pr.o.Batch || len(rgb) != 3*n*in.H*in.W || len(r.Channels) != in.C || in.C > 3 {
		return nil, fmt.Errorf("ops: forward of %d pictures with %d bytes and %d channels: the program takes 1 to %d samples of %v", n, len(rgb), len(r.Channels), pr.o.Batch, in)
	}
	return pr.start(n, func(t *tape) error {
		table, err := pr.d.rendering(r)
		if err != nil {
			return err
		}
		s := &pr.ring[pr.turn]
		pr.turn ^= 1
		done, err := pr.d.send(s, len(rgb), func(host []byte) { copy(host, rgb) })
		if err != nil {
			return err
		}
		var c [3]int
		copy(c[:], r.Channels)
		pixels := int64(n * in.H * in.W)
		if err := pr.d.each("render", pixels, 1, pr.d.args().Ptr(s.dev).Ptr(table).Ptr(t.value(0)).Long(pixels).Int(padded(in.C)).Int(flag(r.Lab != nil)).
			Int(in.C).Int(c[0]).Int(c[1]).Int(c[2])); err != nil {
			return err
		}
		return done()
	})
}

// rendering is the device's copy of what a rendering is made of.
func (d *Device) rendering(r *ops.Rendering) (cu.DevicePtr, error) {
	if p, ok := d.renderings[r]; ok {
		return p, nil
	}
	table := make([]float32, 32)
	for k, row := range r.Affine {
		copy(table[4*k:], row[:])
	}
	if l := r.Lab; l != nil {
		for k, row := range l.Matrix {
			copy(table[4*k:], row[:])
		}
		copy(table[12:], l.Scale[:])
		copy(table[15:], l.Shift[:])
		table = append(table, l.Light[:]...)
	}
	p, err := d.alloc(int64(4*len(table)), "colour tables", lowerBatch)
	if err != nil {
		return 0, err
	}
	d.renderings[r] = p
	return p, d.put(p, table)
}
