package pixel

import (
	"math"

	"github.com/contraflow/contraflow/ops"
)

// Rendering describes the space for a device that renders itself. Spaces that are neither Lab nor an affine map of RGB have
// none.
func (s Space) Rendering(channels []int) (*ops.Rendering, bool) {
	r := &ops.Rendering{Channels: channels}
	if s.Name == "Lab" {
		c := s.labConstants()
		r.Lab = &ops.Lab{Light: *linearised(), Matrix: c.matrix, Scale: c.scale, Shift: c.shift}
		return r, true
	}
	at := func(red, green, blue byte) [3]float64 { return s.Convert(red, green, blue) }
	black, ends := at(0, 0, 0), [3][3]float64{at(255, 0, 0), at(0, 255, 0), at(0, 0, 255)}
	// An affine map adds up: of a colour in the middle, of white, and of an odd one.
	for _, c := range [][3]byte{{128, 64, 200}, {255, 255, 255}, {3, 250, 77}} {
		got := at(c[0], c[1], c[2])
		for k := range 3 {
			want := black[k]
			for j := range 3 {
				want += (ends[j][k] - black[k]) * float64(c[j]) / 255
			}
			if math.Abs(got[k]-want) > 1e-9*max(1, math.Abs(want)) {
				return nil, false
			}
		}
	}
	for k := range 3 {
		for j := range 3 {
			r.Affine[k][j] = float32((ends[j][k] - black[k]) / 255 / s.Std[k])
		}
		r.Affine[k][3] = float32((black[k] - s.Mean[k]) / s.Std[k])
	}
	return r, true
}
