package synth

import "math"

// textures are surface patterns in object coordinates: 0 is the first colour of the object's pair, 1 the second.
// f is the pattern's frequency, p its phase.
var textures = []func(x, y, f, p float64) float64{
	func(x, y, f, p float64) float64 { return band(x*f + p) },                                           // stripes
	func(x, y, f, p float64) float64 { return 0.5 - 0.5*math.Tanh(1.5*(x+0.5*y)+p-0.5) },                // shaded
	func(x, y, f, p float64) float64 { return math.Abs(band(x*f*0.8+p) - band(y*f*0.8)) },               // checks
	func(x, y, f, p float64) float64 { return step(0.33 - math.Hypot(frac(x*f*0.9+p), frac(y*f*0.9))) }, // dots
	func(x, y, f, p float64) float64 { return band(math.Atan2(y, x)/math.Pi*f*1.4 + p) },                // rays
	func(x, y, f, p float64) float64 { return band((x+0.35*math.Sin(4*y))*f*0.8 + p) },                  // waves
	func(x, y, f, p float64) float64 { return noise(x*f*0.9+17*p, y*f*0.9) },                            // marble
	func(x, y, f, p float64) float64 { // bricks
		row := math.Floor(y * f)
		return step(0.36-math.Abs(frac(y*f))) * step(0.42-math.Abs(frac(x*f*0.5+0.5*math.Mod(row, 2)+p)))
	},
	func(x, y, f, p float64) float64 { return band(math.Hypot(x, y)*f*1.1 + p) },     // rings
	func(x, y, f, p float64) float64 { return step(noise(x*f*2+13*p, y*f*2) - 0.6) }, // speckles
}

// frac is the distance to the nearest integer, signed, in [-0.5, 0.5].
func frac(v float64) float64 { return v - math.Round(v) }

// band alternates between 0 and 1 with soft edges, once a unit.
func band(v float64) float64 { return step(0.25 - math.Abs(frac(v))) }

// step is 0 below zero and 1 above, softened over a tenth.
func step(v float64) float64 { return min(max(v*10+0.5, 0), 1) }

// noise is smooth value noise in [0,1] of about unit wavelength.
func noise(x, y float64) float64 {
	x0, y0 := math.Floor(x), math.Floor(y)
	fx, fy := x-x0, y-y0
	fx, fy = fx*fx*(3-2*fx), fy*fy*(3-2*fy)
	at := func(i, j float64) float64 {
		h := uint64(int64(x0+i))*0x9E3779B97F4A7C15 ^ uint64(int64(y0+j))*0xC2B2AE3D27D4EB4F
		return float64(mix(h)>>40) / (1 << 24)
	}
	top := at(0, 0)*(1-fx) + at(1, 0)*fx
	bottom := at(0, 1)*(1-fx) + at(1, 1)*fx
	return top*(1-fy) + bottom*fy
}

// mix is the finaliser of splitmix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}
