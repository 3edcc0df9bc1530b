package pixel

import (
	"math"
	"sync"
	"unsafe"
)

// Render writes the normalised channels of a picture as planes: dst[c] is channel c, [H,W], (value - mean)/std. A channel
// whose plane is nil is left out. Lab is computed in float32, within 2e-5 of the exact value; every other space
// is computed in float64.
func (s Space) Render(dst [3][]float32, p *Picture) {
	if s.Name == "Lab" {
		s.renderLab(dst, p)
		return
	}
	n := p.W * p.H
	if s.scaled {
		s.renderRGB(dst, p)
		return
	}
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

// renderRGB looks the 256 levels of every channel up.
func (s Space) renderRGB(dst [3][]float32, p *Picture) {
	for k, out := range dst {
		if out == nil {
			continue
		}
		var levels [256]float32
		for v := range levels {
			levels[v] = s.normalise(s.Convert(byte(v), byte(v), byte(v))[k], k)
		}
		out, pix := out[:p.W*p.H], p.Pix[k:]
		for i := range out {
			out[i] = levels[pix[3*i]]
		}
	}
}

// labArgs are the arguments of labAsm, which knows the offsets. Matrix and scales are applied as labOf does.
type labArgs struct {
	dst    [3]unsafe.Pointer // planes of float32
	src    [3]unsafe.Pointer // planes of bytes
	linear unsafe.Pointer    // [256]float32
	n      int
	lab    labConstants
}

type labConstants struct {
	matrix       [3][3]float32 // to x, y and z, white being one
	scale, shift [3]float32    // of f(y), f(x)-f(y), f(y)-f(z)
}

// linearised are the 256 levels of sRGB as light.
var linearised = sync.OnceValue(func() *[256]float32 {
	t := new([256]float32)
	for level := range t {
		v := float64(level) * (1.0 / 255)
		if v > 0.04045 {
			v = math.Pow((v+0.055)/1.055, 2.4)
		} else {
			v /= 12.92
		}
		t[level] = float32(v)
	}
	return t
})

func (s Space) labConstants() (c labConstants) {
	white := [3]float64{0.95047, 1, 1.08883}
	for i := range 3 {
		for k := range 3 {
			c.matrix[i][k] = float32(toXYZ[i][k] / white[i])
		}
	}
	for k, factor := range [3]float64{116, 500, 200} {
		c.scale[k] = float32(factor / s.Std[k])
		c.shift[k] = float32(-s.Mean[k] / s.Std[k])
	}
	c.shift[0] = float32((-16 - s.Mean[0]) / s.Std[0])
	return c
}

// chunk is how many pixels are taken apart at a time.
const chunk = 1024

func (s Space) renderLab(dst [3][]float32, p *Picture) {
	constants := s.labConstants()
	var planes [3][chunk]byte
	var unused [chunk]float32
	for at := 0; at < p.W*p.H; at += chunk {
		n := min(chunk, p.W*p.H-at)
		deinterleave(planes[0][:], planes[1][:], planes[2][:], p.Pix[3*at:], n)
		var out [3][]float32
		for k := range out {
			out[k] = unused[:n]
			if dst[k] != nil {
				out[k] = dst[k][at:][:n]
			}
		}
		lab8(out, planes[0][:n], planes[1][:n], planes[2][:n], &constants)
	}
}

// labGo turns levels into normalised Lab. Every product and sum is rounded to float32, so that all machines give the same bits.
func labGo(dst [3][]float32, r, g, b []byte, c *labConstants) {
	linear := linearised()
	for i := range r {
		lr, lg, lb := linear[r[i]], linear[g[i]], linear[b[i]]
		var f [3]float32
		for k, m := range &c.matrix {
			f[k] = labRoot(float32(float32(m[0]*lr)+float32(m[1]*lg)) + float32(m[2]*lb))
		}
		dst[0][i] = float32(f[1]*c.scale[0]) + c.shift[0]
		dst[1][i] = float32(float32(f[0]-f[1])*c.scale[1]) + c.shift[1]
		dst[2][i] = float32(float32(f[1]-f[2])*c.scale[2]) + c.shift[2]
	}
}

// labRoot is Lab's cube root with its straight beginning: a guess by a third of the bits, then two steps of Halley, exact to
// about three units of the last place.
func labRoot(v float32) float32 {
	const knee = 0.008856
	if !(v > knee) {
		return float32(7.787*v) + 16.0/116
	}
	t := math.Float32frombits(uint32(int32(float32(float32(math.Float32bits(v))*(1.0/3))) + 709921077))
	for range 2 {
		cube := float32(float32(t*t) * t)
		t = float32(t*float32(float32(cube+v)+v)) / float32(float32(cube+cube)+v)
	}
	return t
}
