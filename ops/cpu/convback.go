package cpu

// phase is one residue class of the input pixels of a strided convolution: its gradient is a convolution of stride
// one over the output's gradient with the taps that reach it.
type phase struct {
	ph, pw int   // residue of the pixel
	kh, kw int   // taps
	h0, w0 int   // first output row and column that reaches pixel (ph, pw)
	taps   []int // kh·KW+kw of the forward weights
	at     int   // where its panels begin in the packed weights
}

// phases lists the classes of a convolution; taps are in the order of rising output index.
func phases(kernel, stride, pad int) []phase {
	axis := func(p int) (ks []int, first int) {
		for k := kernel - 1; k >= 0; k-- {
			if t := p + pad - k; (t%stride+stride)%stride == 0 {
				if len(ks) == 0 {
					first = t / stride
				}
				ks = append(ks, k)
			}
		}
		return ks, first
	}
	var out []phase
	for ph := range stride {
		for pw := range stride {
			hs, h0 := axis(ph)
			ws, w0 := axis(pw)
			p := phase{ph: ph, pw: pw, kh: len(hs), kw: len(ws), h0: h0, w0: w0}
			for _, a := range hs {
				for _, b := range ws {
					p.taps = append(p.taps, a*kernel+b)
				}
			}
			out = append(out, p)
		}
	}
	return out
}

// gradHalo is how far backward-data reads past the border of an output gradient of oh rows for an input of h rows.
func gradHalo(list []phase, stride, h, oh int) int {
	halo := 0
	for _, p := range list {
		if p.kh == 0 || p.kw == 0 {
			continue
		}
		n := (h - p.ph + stride - 1) / stride
		halo = max(halo, -p.h0, -p.w0, p.h0+n-1+p.kh-1-(oh-1), p.w0+n-1+p.kw-1-(oh-1))
	}
	return halo
}

// backData writes, or adds, the gradient of a convolution's input. dy has a halo of at least gradHalo, zeroed.
func (d *Device) backData(dx, dy *image, n int, wp []float32, list []phase, stride int, add bool) {
	if !add && anyEmpty(list) {
		run(d, &d.jobs.blank, n, blank{*dx})
	}
	for _, p := range list {
		oh, ow := (dx.h-p.ph+stride-1)/stride, (dx.w-p.pw+stride-1)/stride
		if len(p.taps) == 0 || oh <= 0 || ow <= 0 {
			continue
		}
		d.convolve(dy, dx, n, wp[p.at:], window{
			kh: p.kh, kw: p.kw, s: 1, h0: p.h0, w0: p.w0, oh: oh, ow: ow,
			ys: stride, y0: p.ph, x0: p.pw, add: add,
		})
	}
}

func anyEmpty(list []phase) bool {
	for _, p := range list {
		if len(p.taps) == 0 {
			return true
		}
	}
	return false
}

// pixelsPerSum is how many pixels one product of the weights' gradient sums over.
const pixelsPerSum = 512

// segmentFloats is up to how many values a weight's gradient is summed in segments of pixels, each on one worker; larger ones are
// cut into tiles.
const segmentFloats = 200 << 10

// segmentsOf is in how many segments n pieces are summed, 1 for a gradient too large for that.
func segmentsOf(n, size int) int {
	if size > segmentFloats {
		return 1
	}
	return min(n, max(4, min(16, segmentFloats/size)))
}

// weightGrad is one computation of a weight's gradient, dw [panel of OC][KH·KW·IC][width].
type weightGrad struct {
	d                   *Device
	x, dy               image
	kernel, stride, pad int
	rows, per           int // of dy, samples and rows in one; in one chunk
	chunks              int
}

// backWeight adds Σ_pixels x[n, i·s-pad+kh, j·s-pad+kw, ic] · dy[n, i, j, oc] to dw [panel of OC][KH·KW·IC][width], or with fresh
// writes it. Pixels are taken in chunks: the chunk's dy is packed once, then every tile of dw is a matrix product over the chunk.
func (d *Device) backWeight(dw []float32, x, dy *image, n, kernel, stride, pad int, fresh bool) {
	g := &d.weightGrad
	*g = weightGrad{d: d, x: *x, dy: *dy, kernel: kernel, stride: stride, pad: pad, rows: n * dy.h}
	g.per = max(1, min(g.rows, pixelsPerSum/dy.w))
	g.chunks = (g.rows + g.per - 1) / g.per
	size := kernel * kernel * x.c * d.isa.padded(dy.c)
	if segments := segmentsOf(g.chunks, size); segments > 1 {
		d.inSegments(dw, size, segments, fresh, g)
		return
	}
	for c := range g.chunks {
		r0, r1 := g.chunk(c)
		packed := grow32(&d.packed, (r1-r0)*dy.w*d.isa.padded(dy.c)+slack)
		run(d, &d.jobs.weightPanels, d.isa.panels(dy.c), weightPanels{g, packed, r0, r1})
		run(d, &d.jobs.weightTiles, kernel*g.tiles(), weightTiles{g, dw, packed, c, fresh && c == 0})
	}
}

// weightPanels packs one panel of the gradient of rows [r0,r1).
type weightPanels struct {
	*weightGrad
	packed []float32
	r0, r1 int
}

func (j *weightPanels) do(d *Device, _ *scratch, p int) {
	d.packGradient(j.packed[p*(j.r1-j.r0)*j.dy.w*d.isa.nr:], &j.dy, j.r0, j.r1, p)
}

// weightTiles does one tile of dw over chunk c.
type weightTiles struct {
	*weightGrad
	dw, packed []float32
	c          int
	fresh      bool
}

func (j *weightTiles) do(_ *Device, sc *scratch, t int) { j.tile(sc, j.dw, j.packed, j.c, t, j.fresh) }

// segment writes the sum of a segment of chunks.
func (g *weightGrad) segment(sc *scratch, part []float32, segments, s int) {
	d := g.d
	c0, c1 := span(g.chunks, segments, s)
	for c := c0; c < c1; c++ {
		r0, r1 := g.chunk(c)
		px := (r1 - r0) * g.dy.w
		packed := grow32(&sc.v, px*d.isa.padded(g.dy.c)+slack)
		for j := range d.isa.panels(g.dy.c) {
			d.packGradient(packed[j*px*d.isa.nr:], &g.dy, r0, r1, j)
		}
		for t := range g.kernel * g.tiles() {
			g.tile(sc, part, packed, c, t, c == c0)
		}
	}
}

// segmented is a weight's gradient whose pixels are summed in segments: segment writes the part of one.
type segmented interface {
	segment(sc *scratch, part []float32, segments, s int)
}

// inSegments lets g write the part of every segment into a gradient of its own, and adds them to dw in order, or with fresh
// writes them.
func (d *Device) inSegments(dw []float32, size, segments int, fresh bool, g segmented) {
	parts := grow32(&d.parts, segments*size+slack)
	run(d, &d.jobs.segmentPart, segments, segmentPart{g, parts, size, segments})
	pieces := pieces(size, 1<<12, 64)
	run(d, &d.jobs.segmentSum, pieces, segmentSum{dw, parts, size, segments, pieces, fresh})
}

// segmentPart writes the part of one segment.
type segmentPart struct {
	g              segmented
	parts          []float32
	size, segments int
}

func (j *segmentPart) do(_ *Device, sc *scratch, s int) {
	j.g.segment(sc, j.parts[s*j.size:][:j.size:j.size+slack], j.segments, s)
}

// segmentSum adds a piece of all parts.
type segmentSum struct {
	dw, parts              []float32
	size, segments, pieces int
	fresh                  bool
}

func (j *segmentSum) do(_ *Device, _ *scratch, p int) {
	from, to := span(j.size, j.pieces, p)
	out := j.dw[from:to]
	for s := range j.segments {
		part := j.parts[s*j.size+from:][:len(out)]
		if s == 0 && j.fresh {
			copy(out, part)
			continue
		}
		for i, v := range part {
			out[i] += v
		}
	}
}

// chunk is the rows of chunk c.
func (g *weightGrad) chunk(c int) (from, to int) { return c * g.per, min(g.rows, (c+1)*g.per) }

// run is how many floats lie together in x for a pixel and a row of the window, and tiles how many tiles they make.
func (g *weightGrad) run() int   { return g.kernel * g.x.c }
func (g *weightGrad) tiles() int { return (g.run() + g.d.isa.mr - 1) / g.d.isa.mr }

// tile adds to, or writes, tile t of dw the products of chunk c, whose gradient is packed.
func (g *weightGrad) tile(sc *scratch, dw, packed []float32, c, t int, fresh bool) {
	d, mr, nr := g.d, g.d.isa.mr, g.d.isa.nr
	oc, run := g.dy.c, g.run()
	np := d.isa.panels(oc)
	r0, r1 := g.chunk(c)
	px := (r1 - r0) * g.dy.w
	kh := t / g.tiles()
	t0, t1 := span(run, g.tiles(), t%g.tiles())
	a := grow32(&sc.a, px*mr+slack)
	d.packPixels(a, &g.x, &g.dy, r0, r1, kh, t0, t1-t0, g.stride, g.pad)
	// Meanwhile the next chunk comes in, a line with every pixel of a product.
	next := min(g.rows, r1+g.per)
	nextY, nextX := chunkOf(&g.dy, r1, next), inputOf(&g.x, &g.dy, g.stride, r1, next)
	p := &sc.args
	*p = gemmArgs{ki: px, ko: 1, csa: uintptr(mr * 4), rsa: 4, a: ptr(a, 0)}
	if !fresh {
		p.acc = 1
	}
	for j := range np {
		width := d.isa.width(j, oc)
		p.b = ptr(packed, j*px*nr)
		p.pf = addr(packed, min(j+1, np-1)*px*nr)
		if at := (t*np + j) * px * 16; at < len(nextY) {
			p.pf = addr(nextY, at)
		} else if at -= len(nextY); at < len(nextX) {
			p.pf = addr(nextX, at)
		}
		p.c, p.ldc = ptr(dw, j*g.kernel*run*nr+(kh*run+t0)*width), uintptr(width*4)
		d.isa.kernel(t1-t0, width)(p)
	}
}

// chunkOf is the memory from row r0 to row r1 of maps, halos between them included.
func chunkOf(m *image, r0, r1 int) []float32 {
	if r0 >= r1 {
		return nil
	}
	return m.data[m.at(r0/m.h, r0%m.h, 0):m.at((r1-1)/m.h, (r1-1)%m.h, m.w-1)]
}

// inputOf is the memory of the rows of x behind rows [r0,r1) of dy, without what the window adds to them.
func inputOf(x, dy *image, stride, r0, r1 int) []float32 {
	if r0 >= r1 {
		return nil
	}
	return x.data[x.at(r0/dy.h, r0%dy.h*stride, 0):x.at((r1-1)/dy.h, (r1-1)%dy.h*stride, x.w-1)]
}

// packGradient packs channels of panel j of rows [r0,r1): dst[pixel][width].
func (d *Device) packGradient(dst []float32, dy *image, r0, r1, j int) {
	nr := d.isa.nr
	width := d.isa.width(j, dy.c)
	channels := min(width, dy.c-j*nr)
	for r := r0; r < r1; r++ {
		src := dy.row(r/dy.h, r%dy.h)[j*nr:]
		out := dst[(r-r0)*dy.w*width:][:dy.w*width]
		if channels == 32 && d.isa.packs16 {
			pack32(ptr(out, 0), ptr(src, 0), uintptr(dy.c*4), dy.w)
			continue
		}
		for p := range dy.w {
			copy(out[p*width:][:channels], src[p*dy.c:])
			clear(out[p*width+channels:][:width-channels])
		}
	}
}

// packPixels packs m floats from column from of the window's row kh, for every output pixel of rows [r0,r1):
// dst[pixel][mr].
func (d *Device) packPixels(dst []float32, x, dy *image, r0, r1, kh, from, m, stride, pad int) {
	mr := d.isa.mr
	for r := r0; r < r1; r++ {
		at := x.at(r/dy.h, r%dy.h*stride-pad+kh, -pad) + from
		out := dst[(r-r0)*dy.w*mr:]
		if d.isa.packs16 {
			pack14(ptr(out, 0), ptr(x.data, at), uintptr(stride*x.c*4), dy.w)
			continue
		}
		for p := range dy.w {
			copy(out[p*mr:][:m], x.data[at+p*stride*x.c:])
		}
	}
}
