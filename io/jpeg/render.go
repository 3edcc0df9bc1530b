package jpeg

import "github.com/contraflow/contraflow/ops/pixel"

// render writes the box of the decoded channels as RGB.
func (r *reader) render(dst *pixel.Planar, box pixel.Box) {
	dst.Reset(box.W, box.H)
	for i := range r.comps {
		r.comps[i].pad()
	}
	m := r.colours
	for i := range r.comps {
		r.rows[i] = sized(r.rows[i], box.W+2*planePad+pixel.Slack)
	}
	var channel [4][]byte
	for y := range box.H {
		for i := range r.comps {
			channel[i] = r.row(&r.comps[i], r.rows[i], box, box.Y+y)
		}
		red, green, blue := dst.Row(0, y), dst.Row(1, y), dst.Row(2, y)
		switch m {
		case modelGray:
			copy(red[:box.W], channel[0])
			copy(green[:box.W], channel[0])
			copy(blue[:box.W], channel[0])
		case modelRGB:
			copy(red[:box.W], channel[0])
			copy(green[:box.W], channel[1])
			copy(blue[:box.W], channel[2])
		case modelYCC:
			convert(red, green, blue, channel[0], channel[1], channel[2], box.W)
		case modelCMYK, modelYCCK:
			inks(red, green, blue, channel, box.W, m == modelYCCK)
		}
	}
}

// pad repeats the first and the last sample of every row at the edges of the picture: what interpolation sees there.
func (c *component) pad() {
	for y := range (c.y1 - c.y0) * 8 {
		row := c.plane[y*c.pitch:][:c.pitch]
		if c.x0 == 0 {
			row[planePad-1] = row[planePad]
		}
		if end := c.w - c.x0*8; end <= (c.x1-c.x0)*8 {
			row[planePad+end] = row[planePad+end-1]
		}
	}
}

// sample is the row y of a component's samples, from column x on; rows outside the picture are the nearest inside.
func (c *component) sample(x, y int) []byte {
	y = min(max(y, 0), c.rows-1)
	return c.plane[(y-c.y0*8)*c.pitch+planePad+x-c.x0*8:]
}

// row is row y of a channel at full resolution, from the box's left side on. It may use row, and may read beyond the box.
func (r *reader) row(c *component, row []byte, box pixel.Box, y int) []byte {
	fx, fy := r.hMax/c.h, r.vMax/c.v
	x := box.X / fx
	n := (box.X+box.W-1)/fx + 1 - x // samples
	fancy := c.w > 2
	switch {
	case fx == 1 && fy == 1:
		return c.sample(box.X, y)
	case fx == 2 && fy == 2 && fancy:
		near := y/2 - 1 + y&1*2
		doubleBoth(row, c.sample(x-1, y/2), c.sample(x-1, near), n)
		return row[box.X&1:]
	case fx == 2 && fy == 1 && fancy:
		double(row, c.sample(x-1, y), n)
		return row[box.X&1:]
	case fx == 1 && fy == 2:
		near := y/2 - 1 + y&1*2
		between(row, c.sample(x, y/2), c.sample(x, near), n, 1+y&1)
		return row
	}
	line := c.sample(x, y/fy)
	for i := range box.W {
		row[i] = line[(box.X+i)/fx-x]
	}
	return row
}

// doubleBothGo interpolates n samples to 2n: three parts the nearer sample and one part the other, in both directions. cur and near
// are the nearer and the other row and start one sample to the left.
func doubleBothGo(dst, cur, near []byte, n int) {
	dst, cur, near = dst[:2*n], cur[:n+2], near[:n+2]
	last := 3*int(cur[0]) + int(near[0])
	this := 3*int(cur[1]) + int(near[1])
	for i := range n {
		next := 3*int(cur[i+2]) + int(near[i+2])
		dst[2*i], dst[2*i+1] = byte((3*this+last+8)>>4), byte((3*this+next+7)>>4)
		last, this = this, next
	}
}

// doubleGo interpolates n samples to 2n along the row, which starts one sample to the left.
func doubleGo(dst, cur []byte, n int) {
	dst, cur = dst[:2*n], cur[:n+2]
	for i := range n {
		this := 3 * int(cur[i+1])
		dst[2*i], dst[2*i+1] = byte((this+int(cur[i])+1)>>2), byte((this+int(cur[i+2])+2)>>2)
	}
}

// between interpolates between two rows.
func between(dst, cur, near []byte, n, bias int) {
	dst, cur, near = dst[:n], cur[:n], near[:n]
	for i := range n {
		dst[i] = byte((3*int(cur[i]) + int(near[i]) + bias) >> 2)
	}
}

// convertGo turns YCbCr into RGB with libjpeg's constants of 16 bits.
func convertGo(r, g, b, y, cb, cr []byte, n int) {
	r, g, b, y, cb, cr = r[:n], g[:n], b[:n], y[:n], cb[:n], cr[:n]
	for i := range n {
		r[i], g[i], b[i] = ycc(y[i], cb[i], cr[i])
	}
}

func ycc(y, cb, cr byte) (r, g, b byte) {
	l, u, v := int32(y), int32(cb)-128, int32(cr)-128
	return clip(l + (91881*v+32768)>>16), clip(l + (-22554*u-46802*v+32768)>>16), clip(l + (116130*u+32768)>>16)
}

func clip(v int32) byte { return byte(min(max(v, 0), 255)) }

// inks turns CMYK, or CMYK stored as YCCK, into RGB as Pillow does, which takes all inks
// for inverted, as Adobe stores them.
func inks(r, g, b []byte, c [4][]byte, n int, coded bool) {
	out := [3][]byte{r, g, b}
	for i := range n {
		ink := [3]byte{c[0][i], c[1][i], c[2][i]}
		if coded {
			ink[0], ink[1], ink[2] = ycc(c[0][i], c[1][i], c[2][i])
			for k := range ink {
				ink[k] = 255 - ink[k]
			}
		}
		white := int32(c[3][i])
		for k, v := range ink {
			t := int32(255-v)*white + 128
			out[k][i] = clip(white - (t>>8+t)>>8)
		}
	}
}
