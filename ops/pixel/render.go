package pixel

import (
	"math"
	"sync"
)

// Render writes the normalised channels of a picture as planes: dst[c] is channel c, [H,W], (value - mean)/std. A channel
// whose plane is nil is left out. Lab goes through tables in float32, within 2e-5 of the exact value; every other space
// is computed in float64.
func (s Space) Render(dst [3][]float32, p *Picture) {
	if s.Name == "Lab" {
		s.renderLab(dst, p)
		return
	}
	n := p.W * p.H
	for i := range n {
		c := s.Convert(p.Pix[3*i], p.Pix[3*i+1], p.Pix[3*i+2])
		for k := range dst {
			if dst[k] != nil {
				dst[k][i] = s.normalise(c[k], k)
			}
		}
	}
}

// normalise follows the reference's types: RGB in float32, every other space in float64.
func (s Space) normalise(v float64, k int) float32 {
	if s.scaled {
		return (float32(v) - float32(s.Mean[k])) / float32(s.Std[k])
	}
	return float32((v - s.Mean[k]) / s.Std[k])
}

// labTables are the linearised levels times the matrix, and the cube root of Lab on a fine grid.
type labTables struct {
	xyz  [3][256][3]float32 // contribution of a level of channel c to x, y and z, white being one
	root []float32
}

// rootSteps is the resolution of the table between 0 and 1; values in between are interpolated.
const rootSteps = 1 << 13

var labOnce = sync.OnceValue(func() *labTables {
	t := &labTables{root: make([]float32, rootSteps+3)}
	white := [3]float64{0.95047, 1, 1.08883}
	for level := range 256 {
		v := float64(level) * (1.0 / 255)
		if v > 0.04045 {
			v = math.Pow((v+0.055)/1.055, 2.4)
		} else {
			v /= 12.92
		}
		for c := range 3 {
			for i := range 3 {
				t.xyz[c][level][i] = float32(toXYZ[i][c] * v / white[i])
			}
		}
	}
	for i := range t.root {
		v := float64(i) / rootSteps
		if v > 0.008856 {
			t.root[i] = float32(math.Cbrt(v))
		} else {
			t.root[i] = float32(7.787*v + 16.0/116)
		}
	}
	return t
})

// knee is where the cube root gives way to a line: the table is not smooth there, and steep below a tenth.
const knee = 0.06

func (t *labTables) f(v float32) float32 {
	if v < knee {
		if v > 0.008856 {
			return float32(math.Cbrt(float64(v)))
		}
		return 7.787*v + 16.0/116
	}
	x := v * rootSteps
	i := int(x)
	w := x - float32(i)
	return t.root[i] + w*(t.root[i+1]-t.root[i])
}

func (s Space) renderLab(dst [3][]float32, p *Picture) {
	t := labOnce()
	var scale, shift [3]float32
	factors := [3]float64{116, 500, 200}
	for k := range 3 {
		scale[k] = float32(factors[k] / s.Std[k])
		shift[k] = float32(-s.Mean[k] / s.Std[k])
	}
	shift[0] = float32((-16 - s.Mean[0]) / s.Std[0])
	n := p.W * p.H
	for i := range n {
		r, g, b := &t.xyz[0][p.Pix[3*i]], &t.xyz[1][p.Pix[3*i+1]], &t.xyz[2][p.Pix[3*i+2]]
		fy := t.f(r[1] + g[1] + b[1])
		if dst[0] != nil {
			dst[0][i] = fy*scale[0] + shift[0]
		}
		if dst[1] != nil {
			dst[1][i] = (t.f(r[0]+g[0]+b[0])-fy)*scale[1] + shift[1]
		}
		if dst[2] != nil {
			dst[2][i] = (fy-t.f(r[2]+g[2]+b[2]))*scale[2] + shift[2]
		}
	}
}
