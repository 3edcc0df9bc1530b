package synth

import "math"

// shapes are the silhouettes, one a class, as signed distances in units of the object's radius: negative inside.
// Classes beyond the tenth reuse them with another pattern.
var shapes = []struct {
	name string
	sdf  func(x, y float64) float64
}{
	{"disc", func(x, y float64) float64 { return math.Hypot(x, y) - 0.85 }},
	{"ring", func(x, y float64) float64 { return math.Abs(math.Hypot(x, y)-0.68) - 0.24 }},
	{"square", func(x, y float64) float64 { return math.Max(math.Abs(x), math.Abs(y)) - 0.74 }},
	{"triangle", func(x, y float64) float64 { return polygon(x, y, 3, 0.5) }},
	{"star", func(x, y float64) float64 { return wave(x, y, 5, 0.66, 0.3) }},
	{"cross", func(x, y float64) float64 {
		x, y = math.Abs(x), math.Abs(y)
		return math.Min(math.Max(x-0.95, y-0.27), math.Max(x-0.27, y-0.95))
	}},
	{"crescent", func(x, y float64) float64 {
		return math.Max(math.Hypot(x, y)-0.9, 0.68-math.Hypot(x-0.45, y))
	}},
	{"bar", func(x, y float64) float64 { return math.Max(math.Abs(x)-1.05, math.Abs(y)-0.34) }},
	{"flower", func(x, y float64) float64 { return wave(x, y, 8, 0.75, 0.16) }},
	{"pair", func(x, y float64) float64 {
		return math.Min(math.Hypot(x-0.55, y), math.Hypot(x+0.55, y)) - 0.44
	}},
}

// polygon is the regular n-gon with inner radius r.
func polygon(x, y float64, n int, r float64) float64 {
	sector := 2 * math.Pi / float64(n)
	a := math.Atan2(y, x)
	a -= sector * math.Round(a/sector)
	return math.Hypot(x, y)*math.Cos(a) - r
}

// wave is a disc whose radius swings n times by depth.
func wave(x, y float64, n int, r, depth float64) float64 {
	return math.Hypot(x, y) - r - depth*math.Cos(float64(n)*math.Atan2(y, x))
}
