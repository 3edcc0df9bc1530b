package pixel

import "math"

// Grayscale replaces every pixel by its lightness, as Pillow's "L".
func (p *Planar) Grayscale() {
	for y := range p.H {
		r, g, b := p.pixels(y)
		for i := range r {
			v := light(r[i], g[i], b[i])
			r[i], g[i], b[i] = v, v, v
		}
	}
}

// pixels are the channels of a row, without the room behind it.
func (p *Planar) pixels(y int) (r, g, b []byte) {
	return p.Row(0, y)[:p.W], p.Row(1, y)[:p.W], p.Row(2, y)[:p.W]
}

// light is Pillow's lightness of a pixel.
func light(r, g, b byte) byte {
	return byte((19595*uint32(r) + 38470*uint32(g) + 7471*uint32(b) + 32768) >> 16)
}

// blend is Pillow's blend of a byte away from, or towards, deg by factor f.
func blend(deg, v byte, f float32) byte {
	t := float32(deg) + float32(f*float32(int(v)-int(deg)))
	if f >= 0 && f <= 1 {
		return byte(t)
	}
	if t <= 0 {
		return 0
	}
	if t >= 255 {
		return 255
	}
	return byte(t)
}

// Brightness scales every value by f.
func (p *Planar) Brightness(f float64) {
	p.table(0, float32(f))
}

// Contrast moves every value away from the mean lightness by factor f.
func (p *Planar) Contrast(f float64) {
	sum := 0
	for y := range p.H {
		r, g, b := p.pixels(y)
		sum += lightSum(r, g, b)
	}
	p.table(byte(int(float64(sum)/float64(p.W*p.H)+0.5)), float32(f))
}

func lightSumGo(r, g, b []byte) (sum int) {
	for i := range r {
		sum += int(light(r[i], g[i], b[i]))
	}
	return sum
}

// table blends every value with one level.
func (p *Planar) table(deg byte, f float32) {
	if vectors() {
		for y := range p.H {
			blendVector(p, y, int(deg), f)
		}
		return
	}
	var lut [256]byte
	for v := range lut {
		lut[v] = blend(deg, byte(v), f)
	}
	for c := range p.C {
		for y := range p.H {
			row := p.Row(c, y)[:p.W]
			for i, v := range row {
				row[i] = lut[v]
			}
		}
	}
}

// Saturation moves every pixel away from its lightness by factor f.
func (p *Planar) Saturation(f float64) {
	k := float32(f)
	for y := range p.H {
		if vectors() {
			blendVector(p, y, -1, k)
			continue
		}
		r, g, b := p.pixels(y)
		for i := range r {
			l := light(r[i], g[i], b[i])
			r[i], g[i], b[i] = blend(l, r[i], k), blend(l, g[i], k), blend(l, b[i], k)
		}
	}
}

// Hue turns the hue of every pixel by h turns, through Pillow's 8-bit HSV.
func (p *Planar) Hue(h float64) {
	shift := byte(int(h * 255))
	for y := range p.H {
		if vectors() {
			hueVector(p, y, int(shift))
			continue
		}
		r, g, b := p.pixels(y)
		for i := range r {
			hue, s, v := toHSV(r[i], g[i], b[i])
			r[i], g[i], b[i] = fromHSV(hue+shift, s, v)
		}
	}
}

func toHSV(r, g, b byte) (h, s, v byte) {
	most, least := max(r, g, b), min(r, g, b)
	if most == least {
		return 0, 0, most
	}
	// Pillow's types: quotients in float32, sums with constants in float64 and then rounded to float32.
	d := float32(most) - float32(least)
	rc, gc, bc := float32(most-r)/d, float32(most-g)/d, float32(most-b)/d
	var hue float32
	switch most {
	case r:
		hue = bc - gc
	case g:
		hue = float32(2 + float64(rc) - float64(bc))
	default:
		hue = float32(4 + float64(gc) - float64(rc))
	}
	turn64 := float64(hue)/6 + 1 // between 5/6 and 2: its fraction is exact
	turn := float32(turn64 - math.Floor(turn64))
	scale := func(v float32) byte { return byte(min(max(int(float64(v)*255), 0), 255)) }
	return scale(turn), scale(d / float32(most)), most
}

func fromHSV(h, s, v byte) (r, g, b byte) {
	if s == 0 {
		return v, v, v
	}
	x := float32(h) * 6 / 255
	i := int(math.Floor(float64(x)))
	f := x - float32(i)
	sat := float32(s) / 255
	round := func(k float32) byte {
		return byte(min(max(math.Floor(float64(float32(v)*k)+0.5), 0), 255))
	}
	p, q, t := round(1-sat), round(1-float32(sat*f)), round(1-float32(sat*float32(1-f)))
	switch i % 6 {
	case 0:
		return v, t, p
	case 1:
		return q, v, p
	case 2:
		return p, v, t
	case 3:
		return p, q, v
	case 4:
		return t, p, v
	default:
		return v, p, q
	}
}
