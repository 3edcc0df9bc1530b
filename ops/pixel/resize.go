package pixel

// Resizer scales crops with Pillow's antialiased bilinear filter, bit for bit. It keeps its buffers and is used by one
// goroutine; the zero value is ready.
type Resizer struct {
	mid, out Planar
	split    Planar
}

// Resize writes box of src, scaled to w×h, into dst. The filter never looks outside the box. Each direction is rounded
// to 8 bits, horizontal first, and left out when its size stays.
func (r *Resizer) Resize(dst, src *Picture, box Box, w, h int) {
	r.split.Split(src, box)
	r.Scale(&r.out, &r.split, Box{W: box.W, H: box.H}, w, h, false)
	r.out.Join(dst)
}

// Scale is Resize of planes; mirror turns the result left to right.
func (r *Resizer) Scale(dst, src *Planar, box Box, w, h int, mirror bool) {
	box.within(src.W, src.H)
	dst.Reset(w, h)
	from, x0, y0 := src, box.X, box.Y
	if w != box.W || mirror {
		mid := &r.mid
		if h == box.H {
			mid = dst
		}
		mid.Reset(w, box.H)
		if w != box.W {
			across(mid, src, box, tapsOf(tapsKey{box.W, w, mirror}))
		} else {
			reverse(mid, src, box)
		}
		if h == box.H {
			return
		}
		from, x0, y0 = mid, 0, 0
	}
	if h == box.H {
		for c := range dst.C {
			for y := range h {
				copy(dst.Row(c, y)[:w], from.Row(c, y0+y)[x0:])
			}
		}
		return
	}
	t := tapsFor(box.H, h)
	for c := range dst.C {
		for y := range h {
			down(dst.Row(c, y), from.C[c][(y0+t.first[y])*from.Stride+x0:], from.Stride, t.weight[y*t.width:][:t.count[y]], w)
		}
	}
}

// reverse copies a box, turned left to right.
func reverse(dst, src *Planar, box Box) {
	for c := range dst.C {
		for y := range box.H {
			out, in := dst.Row(c, y)[:box.W], src.Row(c, box.Y+y)[box.X:][:box.W]
			for i, v := range in {
				out[len(out)-1-i] = v
			}
		}
	}
}

// acrossGo scales the rows of a box.
func acrossGo(dst, src *Planar, box Box, t *taps) {
	for c := range dst.C {
		for y := range box.H {
			out, in := dst.Row(c, y), src.Row(c, box.Y+y)[box.X:][:box.W]
			for o, first := range t.first {
				sum := int32(1 << (precision - 1))
				weight := t.weight[o*t.width:][:t.count[o]]
				for i, v := range in[first:][:len(weight)] {
					sum += weight[i] * int32(v)
				}
				out[o] = clip(sum)
			}
		}
	}
}

// downGo is one row of n pixels, of rows that lie stride apart.
func downGo(dst, src []byte, stride int, weight []int32, n int) {
	var sums [256]int32
	for x := 0; x < n; x += len(sums) {
		sum := sums[:min(len(sums), n-x)]
		for i := range sum {
			sum[i] = 1 << (precision - 1)
		}
		for t, k := range weight {
			for i, v := range src[t*stride+x:][:len(sum)] {
				sum[i] += k * int32(v)
			}
		}
		out := dst[x:][:len(sum)]
		for i, v := range sum {
			out[i] = clip(v)
		}
	}
}

func clip(v int32) byte { return byte(min(max(v>>precision, 0), 255)) }
