//go:build cuda

package cuda

import (
	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda/cudnn"
	"github.com/contraflow/contraflow/ops/cuda/driver"
)

// blocks is how a first convolution runs, one with a stride and a few input channels: with stride 1 on blocks of stride×stride pixels whose
// channels lie side by side ("space to depth"), and with those of the kernel's other columns, or all of it, beside them while that
// is 64 channels at most. Engines for eight channels, of which one to three are used, take five times as long (bench/results/cuda.md).
type blocks struct {
	in                  ops.Shape
	stride, pad, kernel int // of the convolution
	taps                int // blocks along a side of the kernel; pixels beyond the kernel have weights of zero
	down, across        int // of those, how many are channels: 1 or all
	h, w                int // positions
}

// mostChannels is how many channels positions are widened to: as many as engines like best.
const mostChannels = 64

// blocksOf says whether a convolution of pictures in runs so.
func blocksOf(in ops.Shape, n ops.Node) (blocks, bool) {
	if n.Kind != ops.Conv || n.Groups > 1 || n.Stride < 2 || in.C >= 8 {
		return blocks{}, false
	}
	taps := (n.Kernel + n.Stride - 1) / n.Stride
	b := blocks{in: in, stride: n.Stride, pad: n.Pad, kernel: n.Kernel, taps: taps, down: 1, across: 1}
	if taps*taps*padded(b.channels()) >= n.Kernel*n.Kernel*padded(in.C) {
		return blocks{}, false
	}
	if b.channels()*taps <= mostChannels {
		b.across = taps
	}
	if b.channels()*taps <= mostChannels {
		b.down = taps
	}
	b.h, b.w = n.Out.H+taps-b.down, n.Out.W+taps-b.across
	return b, true
}

// channels of a position, before padding.
func (b *blocks) channels() int { return b.in.C * b.stride * b.stride * b.down * b.across }

func (b *blocks) shape() ops.Shape { return ops.Shape{C: b.channels(), H: b.h, W: b.w} }

// kernels are the taps that remain for the convolution.
func (b *blocks) kernels() (rows, columns int) { return b.taps / b.down, b.taps / b.across }

// convolve makes c the convolution of positions.
func (b *blocks) convolve(c cudnn.Conv) cudnn.Conv {
	c.C, c.H, c.W, c.Stride, c.Pad = padded(b.channels()), b.h, b.w, 1, 0
	c.R, c.S = b.kernels()
	return c
}

// size is how many values a weight tensor of so many outputs has.
func (b *blocks) size(outs int) int {
	rows, columns := b.kernels()
	return outs * rows * columns * padded(b.channels())
}

// place is where the weight of output o, input c and row y and column x of the kernel lies.
func (b *blocks) place(o, c, y, x int) int {
	rows, columns := b.kernels()
	tapY, tapX := y/b.stride, x/b.stride
	tap := tapY%rows*columns + tapX%columns // either one of the convolution's, or the only one
	inside := 0                             // and then its place among the channels
	if b.down > 1 {
		inside = tapY
	}
	if b.across > 1 {
		inside = inside*b.across + tapX
	}
	pixel := y%b.stride*b.stride + x%b.stride
	return (o*rows*columns+tap)*padded(b.channels()) + (inside*b.stride*b.stride+pixel)*b.in.C + c
}

// sizes adds what the kernels must know.
func (b *blocks) sizes(a *driver.Args, n int) *driver.Args {
	return a.Int(n).Int(b.in.H).Int(b.in.W).Int(padded(b.in.C)).Int(b.h).Int(b.w).Int(padded(b.channels())).Int(b.in.C).Int(b.stride).Int(b.pad).Int(b.down).Int(b.across)
}

// gather makes positions of n pictures.
func (d *Device) gather(b *blocks, x, y cu.DevicePtr, n int) error {
	return d.each("to_blocks", elements(b.shape(), n)/8, 1, b.sizes(d.args().Ptr(x).Ptr(y), n))
}

// spread brings the gradient of positions back to pictures.
func (d *Device) spread(b *blocks, dy, dx cu.DevicePtr, n int, add bool) error {
	return d.each("from_blocks", elements(b.in, n)/8, 1, b.sizes(d.args().Ptr(dy).Ptr(dx), n).Int(flag(add)))
}

// trim zeroes the gradient of weights that are beyond the kernel.
func (d *Device) trim(b *blocks, dw cu.DevicePtr, outs int) error {
	rows, columns := b.kernels()
	return d.each("keep_taps", int64(b.size(outs)), 1, d.args().Ptr(dw).Int(outs).Int(rows).Int(columns).Int(padded(b.channels())).Int(b.in.C).
		Int(b.stride).Int(b.down).Int(b.across).Int(b.kernel))
}
