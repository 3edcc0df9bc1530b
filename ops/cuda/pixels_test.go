//go:build cuda

package cuda_test

import (
	"fmt"
	"testing"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda"
	"github.com/contraflow/contraflow/ops/pixel"
)

// The device renders what the processor renders: within 2e-5 in Lab and in the spaces that are affine, in any order of
// channels, and says of the others that it cannot.
func TestRender(t *testing.T) {
	d := open(t, cuda.Options{})
	const n, h, w = 3, 16, 40
	rgb := make([]byte, n*h*w*3)
	for i := range rgb { // every level, and colours dark and light
		rgb[i] = byte(i * (1 + i%3*36) >> (i / 3 % 4))
	}
	rendered := 0
	for _, name := range pixel.SpaceNames() {
		space, err := pixel.LookupSpace(name)
		if err != nil {
			t.Fatal(err)
		}
		if !space.Known {
			if space, err = space.Normalised([]float64{0.3, -0.1, 12}, []float64{0.5, 2, 40}); err != nil {
				t.Fatal(err)
			}
		}
		for _, channels := range [][]int{{0}, {1, 2}, {2, 0, 1}} {
			r, ok := space.Rendering(channels)
			if affine := name != "HSV" && name != "HED" && name != "LUV" && name != "XYZ"; ok != affine {
				t.Fatalf("%s: rendering on the device: %v", name, ok)
			}
			if !ok {
				continue
			}
			rendered++
			t.Run(fmt.Sprint(name, channels), func(t *testing.T) {
				g := ops.NewGraph(ops.Shape{C: len(channels), H: h, W: w})
				g.AvgPool(g.Input(), 1, 1)
				p, err := d.NewParams(g)
				if err != nil {
					t.Fatal(err)
				}
				pr, err := d.Compile(g, p, ops.Options{Batch: n})
				if err != nil {
					t.Fatal(err)
				}
				tape, err := pr.(ops.PixelProgram).ForwardPixels(rgb, n, r)
				if err != nil {
					t.Fatal(err)
				}
				got := tape.Output(0)
				for b := range n {
					var planes [3][]float32
					for k := range planes {
						planes[k] = make([]float32, h*w)
					}
					space.Render(planes, &pixel.Picture{W: w, H: h, Pix: rgb[b*h*w*3:][:h*w*3]})
					for k, c := range channels {
						close32(t, fmt.Sprintf("picture %d channel %d", b, c), got[(b*len(channels)+k)*h*w:][:h*w], wide(planes[c]), 2e-5)
					}
				}
				tape.Release()
			})
		}
	}
	if rendered < 9 {
		t.Errorf("%d renderings were compared", rendered)
	}
}
