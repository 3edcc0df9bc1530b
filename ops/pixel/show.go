package pixel

import "math"

// Show turns normalised planes back into a picture to look at. Channels whose plane is nil take the value of a middle grey. Spaces without
// an inverse here (LUV, HED) show the mean of their channels as lightness.
func (s Space) Show(dst *Picture, w, h int, planes [3][]float32) {
	dst.Reset(w, h)
	grey := s.Convert(140, 140, 140)
	back := s.back()
	for i := range w * h {
		var v [3]float64
		for c := range 3 {
			v[c] = grey[c]
			if planes[c] != nil {
				v[c] = float64(planes[c][i])*s.Std[c] + s.Mean[c]
			}
		}
		if back == nil {
			var sum, n float64
			for c := range 3 {
				if planes[c] != nil {
					sum, n = sum+float64(planes[c][i]), n+1
				}
			}
			g := 0.5 + sum/max(n, 1)/4
			v = [3]float64{g, g, g}
		} else {
			v = back(v)
		}
		for c := range 3 {
			dst.Pix[3*i+c] = byte(math.Round(255 * min(max(v[c], 0), 1)))
		}
	}
}

// back is the inverse of convert: RGB in [0,1].
func (s Space) back() func([3]float64) [3]float64 {
	switch s.Name {
	case "Lab":
		return func(v [3]float64) [3]float64 {
			y := (v[0] + 16) / 116
			return fromXYZ([3]float64{0.95047 * unroot(y+v[1]/500), unroot(y), 1.08883 * unroot(y-v[2]/200)})
		}
	case "XYZ":
		return fromXYZ
	case "HSV":
		return func(v [3]float64) (o [3]float64) {
			for c, n := range [3]float64{5, 3, 1} {
				k := math.Mod(n+6*v[0], 6)
				o[c] = v[2] - v[2]*v[1]*max(0, min(k, 4-k, 1))
			}
			return o
		}
	case "LUV", "HED":
		return nil
	}
	zero := s.convert([3]float64{}) // the others are affine
	var m matrix
	for c := range 3 {
		var unit [3]float64
		unit[c] = 1
		v := s.convert(unit)
		for r := range 3 {
			m[r][c] = v[r] - zero[r]
		}
	}
	inv := inverse(m)
	return func(v [3]float64) [3]float64 {
		return mul(inv, [3]float64{v[0] - zero[0], v[1] - zero[1], v[2] - zero[2]})
	}
}

func unroot(t float64) float64 {
	if c := t * t * t; c > 0.008856 {
		return c
	}
	return (t - 16.0/116) / 7.787
}

var xyzInverse = inverse(toXYZ)

func fromXYZ(v [3]float64) [3]float64 {
	o := mul(xyzInverse, v)
	for c := range 3 {
		if o[c] > 0.0031308 {
			o[c] = 1.055*math.Pow(o[c], 1/2.4) - 0.055
		} else {
			o[c] *= 12.92
		}
	}
	return o
}
