package pixel

import "sync"

// precision is the number of fractional bits of Pillow's resampling weights.
const precision = 22

// Resizer scales crops with Pillow's antialiased bilinear filter, bit for bit. It keeps its buffers and is used by one
// goroutine; the zero value is ready.
type Resizer struct {
	mid  []byte
	rows []int32
}

// taps are the weights of every output position along one axis: position o sums count[o] inputs from first[o].
type taps struct {
	first, count []int
	weight       []int32 // width each
	width        int
}

type tapsKey struct{ in, out int }

var tapsCache sync.Map // tapsKey → *taps; pure, and crops repeat their sizes

func tapsFor(in, out int) *taps {
	key := tapsKey{in, out}
	if t, ok := tapsCache.Load(key); ok {
		return t.(*taps)
	}
	t := newTaps(in, out)
	tapsCache.Store(key, t)
	return t
}

func newTaps(in, out int) *taps {
	scale := float64(in) / float64(out)
	support := max(scale, 1)
	t := &taps{width: int(2*support) + 3}
	t.weight = make([]int32, out*t.width)
	w := make([]float64, t.width)
	for o := range out {
		centre := (float64(o) + 0.5) * scale
		lo := max(int(centre-support+0.5), 0)
		hi := min(int(centre+support+0.5), in)
		var sum float64
		for i := lo; i < hi; i++ {
			d := (float64(i) - centre + 0.5) / support
			if d < 0 {
				d = -d
			}
			w[i-lo] = max(0, 1-d)
			sum += w[i-lo]
		}
		for i := range hi - lo {
			t.weight[o*t.width+i] = int32(w[i]/sum*(1<<precision) + 0.5)
		}
		t.first, t.count = append(t.first, lo), append(t.count, hi-lo)
	}
	return t
}

// Resize writes box of src, scaled to w×h, into dst. The filter never looks outside the box. Each direction is rounded
// to 8 bits, horizontal first, and left out when its size stays.
func (r *Resizer) Resize(dst, src *Picture, box Box, w, h int) {
	box.check(src)
	dst.Reset(w, h)
	from, stride, x0 := src.Pix, src.W*3, box.X
	y0 := box.Y
	vertical := tapsFor(box.H, h)
	if w != box.W {
		horizontal := tapsFor(box.W, w)
		if n := box.H * w * 3; len(r.mid) < n {
			r.mid = make([]byte, n)
		}
		for y := range box.H {
			across(r.mid[y*w*3:][:w*3], src.Pix[((box.Y+y)*src.W+box.X)*3:], horizontal)
		}
		from, stride, x0, y0 = r.mid, w*3, 0, 0
	}
	if h == box.H {
		for y := range h {
			copy(dst.Row(y), from[(y0+y)*stride+x0*3:])
		}
		return
	}
	if len(r.rows) < w*3 {
		r.rows = make([]int32, w*3)
	}
	acc := r.rows[:w*3]
	for y := range h {
		for i := range acc {
			acc[i] = 1 << (precision - 1)
		}
		k := vertical.weight[y*vertical.width:]
		for i := range vertical.count[y] {
			row := from[(y0+vertical.first[y]+i)*stride+x0*3:][:len(acc)]
			weight := k[i]
			for j, v := range row {
				acc[j] += weight * int32(v)
			}
		}
		out := dst.Row(y)[:len(acc)]
		for i, v := range acc {
			out[i] = clip(v)
		}
	}
}

// across scales one row.
func across(dst, src []byte, t *taps) {
	for o := range t.first {
		r, g, b := int32(1<<(precision-1)), int32(1<<(precision-1)), int32(1<<(precision-1))
		at := src[t.first[o]*3:]
		for i, k := range t.weight[o*t.width:][:t.count[o]] {
			p := at[i*3 : i*3+3 : i*3+3]
			r += k * int32(p[0])
			g += k * int32(p[1])
			b += k * int32(p[2])
		}
		d := dst[o*3 : o*3+3 : o*3+3]
		d[0], d[1], d[2] = clip(r), clip(g), clip(b)
	}
}

func clip(v int32) byte { return byte(min(max(v>>precision, 0), 255)) }
