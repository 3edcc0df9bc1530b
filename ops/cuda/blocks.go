//go:build cuda

package cuda

import (
	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops"
)

// blocks is how a first convolution runs, one with a stride and a few input channels: with stride 1 on blocks of stride×stride pixels whose
// channels lie side by side ("space to depth"). Engines for eight channels, of which one to three are used, reach an eighth of
// what these reach. The border is in the blocks.
type blocks struct {
	stride, pad, kernel int // of the convolution
	in                  ops.Shape
	taps                int // blocks along a side of the kernel; pixels beyond the kernel have weights of zero
	h, w                int // blocks of a picture
}

// blocksOf says whether a convolution of pictures in runs so.
func blocksOf(in ops.Shape, n ops.Node) (blocks, bool) {
	if n.Kind != ops.Conv || n.Groups > 1 || n.Stride < 2 || in.C >= 8 {
		return blocks{}, false
	}
	taps := (n.Kernel + n.Stride - 1) / n.Stride
	b := blocks{stride: n.Stride, pad: n.Pad, kernel: n.Kernel, in: in, taps: taps, h: n.Out.H + taps - 1, w: n.Out.W + taps - 1}
	return b, taps*taps*padded(b.channels()) < n.Kernel*n.Kernel*padded(in.C)
}

// channels of a block, before padding.
func (b blocks) channels() int { return b.in.C * b.stride * b.stride }

func (b blocks) shape() ops.Shape { return ops.Shape{C: b.channels(), H: b.h, W: b.w} }

// place is where the weight of output o, input c and row y and column x of the kernel lies.
func (b blocks) place(o, c, y, x int) int {
	tap := y/b.stride*b.taps + x/b.stride
	return (o*b.taps*b.taps+tap)*padded(b.channels()) + (y%b.stride*b.stride+x%b.stride)*b.in.C + c
}

// gather makes blocks of n pictures.
func (d *Device) gather(b *blocks, x, y cu.DevicePtr, n int) error {
	return d.each("to_blocks", elements(b.shape(), n)/8, 1, d.args().Ptr(x).Ptr(y).Int(n).Int(b.in.H).Int(b.in.W).Int(padded(b.in.C)).
		Int(b.h).Int(b.w).Int(padded(b.channels())).Int(b.in.C).Int(b.stride).Int(b.pad))
}

// spread brings the gradient of blocks back to pictures.
func (d *Device) spread(b *blocks, dy, dx cu.DevicePtr, n int, add bool) error {
	return d.each("from_blocks", elements(b.in, n)/8, 1, d.args().Ptr(dy).Ptr(dx).Int(n).Int(b.in.H).Int(b.in.W).Int(padded(b.in.C)).
		Int(b.h).Int(b.w).Int(padded(b.channels())).Int(b.in.C).Int(b.stride).Int(b.pad).Int(flag(add)))
}

// trim zeroes the gradient of weights that are beyond the kernel.
func (d *Device) trim(b *blocks, dw cu.DevicePtr, outs int) error {
	size := int64(outs * b.taps * b.taps * padded(b.channels()))
	return d.each("keep_taps", size, 1, d.args().Ptr(dw).Int(outs).Int(b.taps).Int(padded(b.channels())).Int(b.in.C).Int(b.stride).Int(b.kernel))
}
