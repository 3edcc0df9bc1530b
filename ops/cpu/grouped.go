package cpu

import "github.com/contraflow/contraflow/ops"

// Grouped convolutions are rare in these networks: plain loops. Weights lie as [KH·KW·IC/groups][OC].

// taps calls f for every (output pixel, input pixel, tap) of sample b.
func taps(y, x *image, b int, n ops.Node, f func(out, in, tap int)) {
	for i := range y.h {
		for j := range y.w {
			for kh := range n.Kernel {
				for kw := range n.Kernel {
					h, w := i*n.Stride-n.Pad+kh, j*n.Stride-n.Pad+kw
					if h >= 0 && h < x.h && w >= 0 && w < x.w {
						f(y.at(b, i, j), x.at(b, h, w), kh*n.Kernel+kw)
					}
				}
			}
		}
	}
}

type groupedForward struct {
	y, x image
	w    []float32
	node ops.Node
}

func (j *groupedForward) do(_ *Device, _ *scratch, b int) {
	y, x := &j.y, &j.x
	icg, ocg := x.c/j.node.Groups, y.c/j.node.Groups
	for h := range y.h {
		clear(y.row(b, h))
	}
	taps(y, x, b, j.node, func(out, in, tap int) {
		for o := range y.c {
			g := o / ocg
			for c := range icg {
				y.data[out+o] += x.data[in+g*icg+c] * j.w[(tap*icg+c)*y.c+o]
			}
		}
	})
}

// groupedBack adds to the gradient of the input.
type groupedBack struct {
	dx, dy image
	w      []float32
	node   ops.Node
}

func (j *groupedBack) do(_ *Device, _ *scratch, b int) {
	dx, dy := &j.dx, &j.dy
	icg, ocg := dx.c/j.node.Groups, dy.c/j.node.Groups
	taps(dy, dx, b, j.node, func(out, in, tap int) {
		for o := range dy.c {
			g := o / ocg
			for c := range icg {
				dx.data[in+g*icg+c] += dy.data[out+o] * j.w[(tap*icg+c)*dy.c+o]
			}
		}
	})
}

func (d *Device) groupedBackWeight(dw []float32, x, dy *image, n int, node ops.Node) {
	icg, ocg := x.c/node.Groups, dy.c/node.Groups
	for b := range n {
		taps(dy, x, b, node, func(out, in, tap int) {
			for o := range dy.c {
				g := o / ocg
				for c := range icg {
					dw[(tap*icg+c)*dy.c+o] += x.data[in+g*icg+c] * dy.data[out+o]
				}
			}
		})
	}
}
