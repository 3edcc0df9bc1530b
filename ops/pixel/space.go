package pixel

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"
)

// Space is a colour space of three channels, computed in float64 as scikit-image does from 8-bit RGB.
type Space struct {
	Name string
	// Mean and Std normalise a channel to (v - mean) / std. Spaces without published constants have none.
	Mean, Std [3]float64
	Known     bool // Mean and Std are set
	convert   func(rgb [3]float64) [3]float64
	scaled    bool // RGB: values in [0,1]
}

// spaces are the colour spaces by name. Constants: Lab maps its range onto [-1,1]; YCbCr, RGB and YDbDr are those of the
// reference, its author's statistics and ImageNet's.
var spaces = map[string]Space{
	"RGB": {Name: "RGB", Mean: [3]float64{0.485, 0.456, 0.406}, Std: [3]float64{0.229, 0.224, 0.225}, Known: true, scaled: true,
		convert: func(v [3]float64) [3]float64 { return v }},
	"Lab": {Name: "Lab", Known: true, convert: lab,
		Mean: [3]float64{50, (-86.183 + 98.233) / 2, (-107.857 + 94.478) / 2},
		Std:  [3]float64{50, (86.183 + 98.233) / 2, (107.857 + 94.478) / 2}},
	"YCbCr": {Name: "YCbCr", Mean: [3]float64{116.151, 121.080, 132.342}, Std: [3]float64{109.500, 111.855, 111.964}, Known: true,
		convert: func(v [3]float64) [3]float64 {
			o := mul(ycbcr, v)
			return [3]float64{o[0] + 16, o[1] + 128, o[2] + 128}
		}},
	"YDbDr":  {Name: "YDbDr", Mean: [3]float64{0.457, -0.082, -0.052}, Std: [3]float64{0.500, 1.331, 1.333}, Known: true, convert: linear(ydbdr)},
	"HSV":    {Name: "HSV", convert: hsv},
	"HED":    {Name: "HED", convert: hed},
	"LUV":    {Name: "LUV", convert: luv},
	"YUV":    {Name: "YUV", convert: linear(yuv)},
	"XYZ":    {Name: "XYZ", convert: xyz},
	"YPbPr":  {Name: "YPbPr", convert: linear(ypbpr)},
	"YIQ":    {Name: "YIQ", convert: linear(yiq)},
	"CIERGB": {Name: "CIERGB", convert: linear(rgbcie)},
}

// SpaceNames lists the spaces in alphabetical order.
func SpaceNames() []string {
	var out []string
	for n := range spaces {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

// LookupSpace finds a colour space by its name, in any case.
func LookupSpace(name string) (Space, error) {
	for n, s := range spaces {
		if strings.EqualFold(n, name) {
			return s, nil
		}
	}
	return Space{}, fmt.Errorf("there is no colour space %q: choose one of %s", name, strings.Join(SpaceNames(), ", "))
}

// Check reports a space that cannot render.
func (s Space) Check() error {
	switch {
	case s.convert == nil:
		return errors.New("the zero Space has no colours: set one of pixel.LookupSpace")
	case !s.Known:
		return fmt.Errorf("colour space %s has no mean and deviation of its own: give it some with Normalised", s.Name)
	}
	return nil
}

// Normalised is the space with constants of its own, three each.
func (s Space) Normalised(mean, std []float64) (Space, error) {
	if len(mean) != 3 || len(std) != 3 {
		return s, fmt.Errorf("%d means and %d deviations: want three of each", len(mean), len(std))
	}
	for c := range 3 {
		if !(std[c] > 0) {
			return s, fmt.Errorf("a deviation of %v: all must be positive", std[c])
		}
	}
	s.Mean, s.Std, s.Known = [3]float64(mean), [3]float64(std), true
	return s, nil
}

// Convert is the colour of one pixel, not normalised. Its first step multiplies by 1/255.
func (s Space) Convert(r, g, b byte) [3]float64 {
	const unit = 1.0 / 255
	return s.convert([3]float64{float64(r) * unit, float64(g) * unit, float64(b) * unit})
}

type matrix [3][3]float64

var (
	toXYZ  = matrix{{0.412453, 0.357580, 0.180423}, {0.212671, 0.715160, 0.072169}, {0.019334, 0.119193, 0.950227}}
	ycbcr  = matrix{{65.481, 128.553, 24.966}, {-37.797, -74.203, 112.0}, {112.0, -93.786, -18.214}}
	yuv    = matrix{{0.299, 0.587, 0.114}, {-0.14714119, -0.28886916, 0.43601035}, {0.61497538, -0.51496512, -0.10001026}}
	yiq    = matrix{{0.299, 0.587, 0.114}, {0.59590059, -0.27455667, -0.32134392}, {0.21153661, -0.52273617, 0.31119955}}
	ypbpr  = matrix{{0.299, 0.587, 0.114}, {-0.168736, -0.331264, 0.5}, {0.5, -0.418688, -0.081312}}
	ydbdr  = matrix{{0.299, 0.587, 0.114}, {-0.45, -0.883, 1.333}, {-1.333, 1.116, 0.217}}
	rgbcie = product(inverse(scaled(matrix{{0.49, 0.31, 0.20}, {0.17697, 0.81240, 0.01063}, {0, 0.01, 0.99}}, 1/0.17697)), toXYZ)
	stains = inverse(matrix{{0.65, 0.70, 0.29}, {0.07, 0.99, 0.11}, {0.27, 0.57, 0.78}})
)

// mul, and what else multiplies here, rounds every product: a machine that fuses it with the sum would have other pixels.
func mul(m matrix, v [3]float64) (o [3]float64) {
	for i := range o {
		o[i] = float64(m[i][0]*v[0]) + float64(m[i][1]*v[1]) + float64(m[i][2]*v[2])
	}
	return o
}

func linear(m matrix) func([3]float64) [3]float64 {
	return func(v [3]float64) [3]float64 { return mul(m, v) }
}

func scaled(m matrix, k float64) matrix {
	for i := range m {
		for j := range m[i] {
			m[i][j] *= k
		}
	}
	return m
}

func product(a, b matrix) (o matrix) {
	for i := range o {
		for j := range o[i] {
			for k := range 3 {
				o[i][j] += float64(a[i][k] * b[k][j])
			}
		}
	}
	return o
}

func inverse(m matrix) (o matrix) {
	cof := func(r, c int) float64 {
		r1, r2, c1, c2 := (r+1)%3, (r+2)%3, (c+1)%3, (c+2)%3
		return float64(m[r1][c1]*m[r2][c2]) - float64(m[r1][c2]*m[r2][c1])
	}
	det := float64(m[0][0]*cof(0, 0)) + float64(m[0][1]*cof(0, 1)) + float64(m[0][2]*cof(0, 2))
	for i := range o {
		for j := range o[i] {
			o[i][j] = cof(j, i) / det
		}
	}
	return o
}

func xyz(v [3]float64) [3]float64 {
	for i, c := range v {
		if c > 0.04045 {
			v[i] = math.Pow((c+0.055)/1.055, 2.4)
		} else {
			v[i] = c / 12.92
		}
	}
	return mul(toXYZ, v)
}

func lab(v [3]float64) [3]float64 {
	c := xyz(v)
	white := [3]float64{0.95047, 1, 1.08883} // D65, 2°
	for i := range c {
		c[i] /= white[i]
		if c[i] > 0.008856 {
			c[i] = math.Cbrt(c[i])
		} else {
			c[i] = float64(7.787*c[i]) + 16.0/116
		}
	}
	return [3]float64{float64(116*c[1]) - 16, 500 * (c[0] - c[1]), 200 * (c[1] - c[2])}
}

func luv(v [3]float64) [3]float64 {
	c := xyz(v)
	l := 903.3 * c[1]
	if c[1] > 0.008856 {
		l = float64(116*math.Cbrt(c[1])) - 16
	}
	d := c[0] + float64(15*c[1]) + float64(3*c[2]) + 0x1p-52
	return [3]float64{l, 13 * l * (4*c[0]/d - 0.19783982482140777), 13 * l * (9*c[1]/d - 0.4683363029324097)}
}

func hsv(v [3]float64) [3]float64 {
	r, g, b := v[0], v[1], v[2]
	most, d := max(r, g, b), max(r, g, b)-min(r, g, b)
	if d == 0 {
		return [3]float64{0, 0, most}
	}
	var h float64 // the later channel wins ties
	switch most {
	case b:
		h = 4 + (r-g)/d
	case g:
		h = 2 + (b-r)/d
	default:
		h = (g - b) / d
	}
	h = math.Mod(h/6, 1)
	if h < 0 {
		h++
	}
	return [3]float64{h, d / most, most}
}

// hed is the stain separation of scikit-image from 0.19 on.
func hed(v [3]float64) (o [3]float64) {
	low := math.Log(1e-6)
	for i, c := range v {
		v[i] = math.Log(max(c, 1e-6)) / low
	}
	for j := range o {
		o[j] = max(0, float64(v[0]*stains[0][j])+float64(v[1]*stains[1][j])+float64(v[2]*stains[2][j]))
	}
	return o
}
