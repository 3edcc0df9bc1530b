package synth

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"
)

// habit is how often an object wears its class's own pattern and its class's own hue instead of a random one.
const (
	textureHabit = 0.85
	hueHabit     = 0.95
	castSize     = 0.18
	shadeSize    = 0.5
)

// scene is everything drawn at random about one image.
type scene struct {
	size    int
	objects []object
	back    ground
	light   lighting
}

type object struct {
	sdf       func(x, y float64) float64
	texture   func(x, y, f, p float64) float64
	colour    pair
	x, y, r   float64 // centre and radius, in image units
	sin, cos  float64
	freq, off float64
}

// pair is the two colours of a surface, linear in [0,1].
type pair [2][3]float64

// newScene draws the parameters of one image of a class.
func newScene(r *rand.Rand, class, size int) scene {
	s := scene{
		size:  size,
		back:  newGround(r),
		light: newLighting(r),
	}
	kind := class % len(textures)
	if class >= len(shapes) {
		kind = (class*7 + class/len(shapes)) % len(textures)
	}
	if r.Float64() > textureHabit {
		kind = r.IntN(len(textures))
	}
	hue := r.Float64()
	if r.Float64() < hueHabit {
		hue = math.Mod(float64(class)*0.382+0.05*r.NormFloat64()+1, 1)
	}
	s.objects = append(s.objects, place(r, object{
		sdf: shapes[class%len(shapes)].sdf, texture: textures[kind], colour: surface(r, hue, kind),
	}, 0.29+0.07*r.Float64(), 0.4))
	return s
}

// place puts an object of radius radius at least margin away from the border.
func place(r *rand.Rand, o object, radius, margin float64) object {
	o.r = radius
	o.x = margin + (1-2*margin)*r.Float64()
	o.y = margin + (1-2*margin)*r.Float64()
	o.sin, o.cos = math.Sincos(0.2 * (2*r.Float64() - 1))
	o.freq = 1.9 + 0.2*r.Float64()
	o.off = r.Float64()
	return o
}

// surface picks the two colours of a pattern. The second follows from the first and from the pattern's kind, so that
// a texture is seen in lightness and in colour alike; a hue has its own lightness, yellow light and blue dark.
func surface(r *rand.Rand, hue float64, kind int) pair {
	value := 0.55 + 0.4*r.Float64()
	sat := 0.65 + 0.3*r.Float64()
	shift := 0.18 + 0.05*float64(kind%5)
	return pair{
		hsv(hue, sat, value),
		hsv(hue+shift, sat*0.8, value*(0.45+0.06*float64(kind%3))),
	}
}

// ground is the background: lightness and colour vary over it independently of each other, as paint and light do.
type ground struct {
	luma           [2]float64 // two levels
	chroma         [2][2]float64
	lumaF, chromaF float64 // frequencies of the two patterns
	phase          float64
	tilt           [2]float64 // direction of the pattern of lightness
}

func newGround(r *rand.Rand) ground {
	g := ground{lumaF: 2 + 6*r.Float64(), chromaF: 1.5 + 2*r.Float64(), phase: 100 * r.Float64()}
	base := 0.35 + 0.35*r.Float64()
	g.luma = [2]float64{base, base + 0.3*(r.Float64()-0.5)}
	for i := range g.chroma {
		sin, cos := math.Sincos(2 * math.Pi * r.Float64())
		size := 0.16 * r.Float64()
		g.chroma[i] = [2]float64{size * cos, size * sin}
	}
	g.tilt[0], g.tilt[1] = math.Sincos(2 * math.Pi * r.Float64())
	return g
}

// at is the background's colour: lightness from one pattern, colour differences from another.
func (g *ground) at(x, y float64) [3]float64 {
	u, v := x*g.tilt[0]+y*g.tilt[1], y*g.tilt[0]-x*g.tilt[1]
	t := noise(u*g.lumaF+g.phase, 0.4*v*g.lumaF)
	c := noise(x*g.chromaF-g.phase, y*g.chromaF)
	luma := g.luma[0]*(1-t) + g.luma[1]*t
	cb := g.chroma[0][0]*(1-c) + g.chroma[1][0]*c
	cr := g.chroma[0][1]*(1-c) + g.chroma[1][1]*c
	return [3]float64{luma + 1.402*cr, luma - 0.344*cb - 0.714*cr, luma + 1.772*cb}
}

// lighting is what the scene's light does: brightness that varies over the image and touches lightness alone, and a colour
// cast that touches colour alone.
type lighting struct {
	gain, shade  float64
	slope        [2]float64
	freq, phase  float64
	castB, castR float64
}

func newLighting(r *rand.Rand) lighting {
	sin, cos := math.Sincos(2 * math.Pi * r.Float64())
	size := castSize * math.Sqrt(r.Float64())
	return lighting{
		gain: 0.65 + 0.5*r.Float64(), shade: shadeSize * r.Float64(),
		slope: [2]float64{0.6 * (r.Float64() - 0.5), 0.6 * (r.Float64() - 0.5)},
		freq:  1.5 + 2*r.Float64(), phase: 100 * r.Float64(),
		castB: size * cos, castR: size * sin,
	}
}

// apply lights a surface colour at a point of the unit square.
func (l *lighting) apply(c [3]float64, x, y float64) [3]float64 {
	luma := 0.299*c[0] + 0.587*c[1] + 0.114*c[2]
	bright := l.gain * (1 + l.slope[0]*(2*x-1) + l.slope[1]*(2*y-1) - l.shade*noise(x*l.freq+l.phase, y*l.freq))
	more := luma * (bright - 1)
	return [3]float64{
		c[0] + more + 1.402*l.castR,
		c[1] + more - 0.344*l.castB - 0.714*l.castR,
		c[2] + more + 1.772*l.castB,
	}
}

// draw renders the scene with 2×2 samples a pixel.
func (s *scene) draw(r *rand.Rand) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, s.size, s.size))
	inv := 1 / float64(s.size)
	for py := range s.size {
		for px := range s.size {
			var sum [3]float64
			for k := range 4 {
				x := (float64(px) + 0.25 + 0.5*float64(k&1)) * inv
				y := (float64(py) + 0.25 + 0.5*float64(k>>1)) * inv
				c := s.at(x, y)
				for i := range sum {
					sum[i] += 0.25 * c[i]
				}
			}
			grain := 0.015 * r.NormFloat64()
			img.SetRGBA(px, py, color.RGBA{level(sum[0] + grain), level(sum[1] + grain), level(sum[2] + grain), 255})
		}
	}
	return img
}

// at is the colour at a point of the unit square.
func (s *scene) at(x, y float64) [3]float64 {
	c := s.back.at(x, y)
	for i := range s.objects {
		o := &s.objects[i]
		dx, dy := (x-o.x)/o.r, (y-o.y)/o.r
		if dx*dx+dy*dy > 1.6 {
			continue
		}
		u, v := dx*o.cos+dy*o.sin, dy*o.cos-dx*o.sin
		if o.sdf(u, v) < 0 {
			c = blend(o.colour, o.texture(u, v, o.freq, o.off))
		}
	}
	return s.light.apply(c, x, y)
}

func blend(p pair, t float64) (c [3]float64) {
	for i := range c {
		c[i] = p[0][i]*(1-t) + p[1][i]*t
	}
	return c
}

func level(v float64) uint8 { return uint8(min(max(v, 0), 1)*255 + 0.5) }

// hsv converts hue (in turns, any real), saturation and value to red, green and blue in [0,1].
func hsv(h, s, v float64) (c [3]float64) {
	for i, n := range [3]float64{5, 3, 1} {
		k := math.Mod(n+6*(h-math.Floor(h)), 6)
		c[i] = v - v*s*max(0, min(k, 4-k, 1))
	}
	return c
}
