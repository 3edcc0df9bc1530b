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

// turnPixels is up to how many pixels the weights for the gradient of the input are packed where they are used: with more, several
// workers share a panel.
const turnPixels = 2048

// backData writes, or adds, the gradient of a convolution's input, whose forward weights are w. dy has a halo of at least gradHalo,
// zeroed; packed is memory for the weights of all phases, in pairs those of bfloat16.
func (d *Device) backData(dx, dy *image, n int, w, packed []float32, kernel int, list []phase, stride int, add, pairs bool) {
	if !add && anyEmpty(list) {
		run(d, &d.jobs.blank, n, blank{*dx})
	}
	for _, p := range list {
		oh, ow := (dx.h-p.ph+stride-1)/stride, (dx.w-p.pw+stride-1)/stride
		if len(p.taps) == 0 || oh <= 0 || ow <= 0 {
			continue
		}
		q := window{
			kh: p.kh, kw: p.kw, s: 1, h0: p.h0, w0: p.w0, oh: oh, ow: ow,
			ys: stride, y0: p.ph, x0: p.pw, add: add, pairs: pairs,
		}
		t := turn{w, kernel, p.taps, pairs}
		if !pairs && n*oh*ow <= turnPixels && d.isa.panels(dx.c) >= 2*d.pool.threads {
			q.turn = t
		} else {
			d.packBackward(packed[p.at:], t, dx.c, dy.c)
		}
		d.convolve(dy, dx, n, packed[p.at:], q)
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

// pixelsPerSum is how many pixels one product of the weights' gradient sums over. Twice as many round twice as far off in the golden
// trajectories and are no faster.
const pixelsPerSum = 256

// skipRows is up to how many rows of dy those are left out whose pixels lie in the halo: dy is packed once more for that.
const skipRows = 28

// directPanels is up to how many panels of dy x is read where it lies, and aheadPixels how far ahead it is fetched.
const (
	directPanels = 4
	aheadPixels  = 16
)

// groupBytes is how much of x is packed at a time: it stays in the second-level cache.
const groupBytes = 600 << 10

// weightGrad is one computation of a weight's gradient, dw [panel of OC][KH·KW·IC][width].
type weightGrad struct {
	d                   *Device
	x, dy               image
	kernel, stride, pad int
	rows, chunks        int // of dy, samples and rows in one
	pairs               bool
}

// backWeight adds Σ_pixels x[n, i·s-pad+kh, j·s-pad+kw, ic] · dy[n, i, j, oc] to dw [panel of OC][KH·KW·IC][width], or with fresh
// writes it. Pixels are taken in chunks: the chunk's dy is packed once, then every tile of dw is a matrix product over the chunk.
// In pairs it is one over pairs of pixels, in bfloat16.
func (d *Device) backWeight(dw []float32, x, dy *image, n, kernel, stride, pad int, fresh, pairs bool) {
	g := &d.weightGrad
	*g = weightGrad{d: d, x: *x, dy: *dy, kernel: kernel, stride: stride, pad: pad, rows: n * dy.h, pairs: pairs}
	size := kernel * kernel * x.c * d.isa.padded(dy.c)
	segments, chunks := inParts(max(1, (g.rows*dy.w+pixelsPerSum/2)/pixelsPerSum), size)
	g.chunks = min(g.rows, chunks)
	if segments = min(segments, g.chunks); segments > 1 {
		d.inSegments(dw, size, segments, fresh, g)
		return
	}
	for c := range g.chunks {
		for kh := 0; kh < kernel; {
			b := g.band(c, kh)
			if b.direct() {
				d.catchUp() // packed is about to change
				packed := grow32(&d.packed, b.px*d.isa.padded(dy.c)+slack)
				run(d, &d.jobs.weightPanels, d.isa.panels(dy.c), weightPanels{b, packed})
				postpone(d, &d.jobs.weightTiles, (b.to-kh)*g.tiles(), weightTiles{b, dw, packed, fresh && c == 0})
			} else {
				j := weightBlocks{band: b, dw: dw, fresh: fresh && c == 0}
				j.groups, j.parts = b.shares()
				postpone(d, &d.jobs.weightBlocks, j.groups*j.parts, j)
			}
			kh = b.to
		}
	}
}

// band is rows [from,to) of the window over those rows of dy in [r0,r1) whose pixels they do not look for in the halo, which add
// nothing.
type band struct {
	*weightGrad
	r0, r1, from, to int
	all              bool // all rows, whatever they look for
	px               int  // pixels or pairs of them
}

// band is the longest one of chunk c that begins with row kh of the window.
func (g *weightGrad) band(c, kh int) band {
	b := band{weightGrad: g, from: kh, to: kh + 1}
	b.r0, b.r1 = span(g.rows, g.chunks, c)
	rows := b.r1 - b.r0
	skips := g.kernel > 1 && g.dy.h <= skipRows
	if skips {
		rows = 0
		for r := b.r0; r < b.r1; r++ {
			if b.counts(r) {
				rows++
			}
		}
	}
	if rows == 0 || rows == b.r1-b.r0 {
		rows, b.all = b.r1-b.r0, true
	}
	if !skips {
		b.to = g.kernel
	}
	b.px = b.steps(rows)
	return b
}

// steps is how many pixels, or pairs of them, some rows have. Pairs do not reach from a row into the next, unless the rows follow one
// another without a gap.
func (b *band) steps(rows int) int {
	switch {
	case !b.pairs:
		return rows * b.dy.w
	case b.flat():
		return (rows*b.dy.w + 1) / 2
	}
	return rows * ((b.dy.w + 1) / 2)
}

// flat says whether rows of both maps follow one another and belong to each other.
func (g *weightGrad) flat() bool {
	return g.kernel == 1 && g.stride == 1 && g.x.halo == 0 && g.dy.halo == 0
}

// counts says whether the band has row r of dy.
func (b *band) counts(r int) bool {
	i := r%b.dy.h*b.stride - b.pad + b.from
	return b.all || i >= 0 && i < b.x.h
}

// weightPanels packs one panel of the gradient of a band.
type weightPanels struct {
	band
	packed []float32
}

func (j *weightPanels) do(d *Device, _ *scratch, p int) {
	j.packGradient(j.packed[p*j.px*d.isa.nr:], p)
}

// weightTiles does one tile of dw over a band.
type weightTiles struct {
	band
	dw, packed []float32
	fresh      bool
}

func (j *weightTiles) do(_ *Device, sc *scratch, t int) { j.tile(sc, j.dw, j.packed, t, j.fresh) }

// segment writes the sum of a segment of chunks.
func (g *weightGrad) segment(sc *scratch, part []float32, segments, s int) {
	c0, c1 := span(g.chunks, segments, s)
	for c := c0; c < c1; c++ {
		for kh := 0; kh < g.kernel; {
			b := g.band(c, kh)
			if np := g.d.isa.panels(g.dy.c); b.direct() {
				packed := grow32(&sc.v, b.px*g.d.isa.padded(g.dy.c)+slack)
				for j := range np {
					b.packGradient(packed[j*b.px*g.d.isa.nr:], j)
				}
				for t := range (b.to - kh) * g.tiles() {
					b.tile(sc, part, packed, t, c == c0)
				}
			} else {
				groups := b.groups()
				for k := range groups {
					b.group(sc, part, k, groups, 0, np, c == c0)
				}
			}
			kh = b.to
		}
	}
}

// run is how many floats lie together in x for a pixel and a row of the window, and tiles how many tiles they make.
func (g *weightGrad) run() int   { return g.kernel * g.x.c }
func (g *weightGrad) tiles() int { return (g.run() + g.d.isa.mr - 1) / g.d.isa.mr }

// columns is the floats of tile t.
func (g *weightGrad) columns(t int) (from, to int) {
	width := (g.run() + g.tiles() - 1) / g.tiles()
	from = t % g.tiles() * width
	return from, min(g.run(), from+width)
}

// pixel is where row kh of the window over row r of dy begins in x.
func (g *weightGrad) pixel(r, kh int) int {
	return g.x.at(r/g.dy.h, r%g.dy.h*g.stride-g.pad+kh, -g.pad)
}

// direct says whether x is read where it lies: with few panels of dy it does not pay to pack it.
func (g *weightGrad) direct() bool { return !g.pairs && g.d.isa.panels(g.dy.c) <= directPanels }

// tile adds to, or writes, tile t of dw the products of a band, whose gradient is packed [panel][pixel][width].
func (b *band) tile(sc *scratch, dw, packed []float32, t int, fresh bool) {
	d, nr := b.d, b.d.isa.nr
	oc, run, step := b.dy.c, b.run(), b.stride*b.x.c
	np := d.isa.panels(oc)
	kh := b.from + t/b.tiles()
	t0, t1 := b.columns(t)
	p := &sc.args
	*p = gemmArgs{csa: uintptr(4 * step), rsa: 4, ki: b.dy.w, ja: uintptr(4*b.stride*(b.x.w+2*b.x.halo)*b.x.c) - uintptr(4*b.dy.w*step)}
	// Meanwhile the next chunk comes in, a line with every pixel of a product.
	nextY := chunkOf(&b.dy, b.r1, min(b.rows, 2*b.r1-b.r0))
	for j := range np {
		width := d.isa.width(j, oc)
		switch at := (t*(np-1) + j - 1) * b.px * 16; {
		case j == 0:
			p.fetchEvery(addr(b.x.data, b.pixel(b.r0, kh))+uintptr(4*(t1-1+aheadPixels*step)), p.csa)
		case at < len(nextY):
			p.fetch(addr(nextY, at))
		default:
			p.fetch(addr(packed, min(j+1, np-1)*b.px*nr))
		}
		p.c, p.ldc = ptr(dw, j*b.kernel*run*nr+(kh*run+t0)*width), uintptr(width*4)
		p.acc = 1
		if fresh {
			p.acc = 0
		}
		kernel, at := d.isa.kernel(t1-t0, width), j*b.px*nr
		for r := b.r0; r < b.r1; {
			n := b.together(r)
			if n == 0 {
				r++
				continue
			}
			p.a, p.b, p.ko = ptr(b.x.data, b.pixel(r, kh)+t0), ptr(packed, at), n
			kernel(p)
			p.acc = 1
			at += n * b.dy.w * width
			r += n
		}
	}
}

// weightBlocks does groups of tiles times parts of the panels.
type weightBlocks struct {
	band
	dw            []float32
	fresh         bool
	groups, parts int
}

func (j *weightBlocks) do(d *Device, sc *scratch, k int) {
	j0, j1 := span(d.isa.panels(j.dy.c), j.parts, k%j.parts)
	j.group(sc, j.dw, k/j.parts, j.groups, j0, j1, j.fresh)
}

// tilePitch is how many floats apart packed tiles of x are.
func (b *band) tilePitch() int { return b.px*b.d.isa.mr + 16 }

// groups is into how many groups the tiles of a band are cut, so that a group, packed, stays in the second-level cache.
func (b *band) groups() int {
	tiles := (b.to - b.from) * b.tiles()
	most := max(1, groupBytes/(4*b.tilePitch()))
	return (tiles + most - 1) / most
}

// shares is into how many groups of tiles and parts of the panels a band is cut, so that every worker has equally much to do, twice,
// and can help one that is held up. Each group packs the gradient again and each part x: whichever is less.
func (b *band) shares() (groups, parts int) {
	t, groups := b.d.pool.threads, b.groups()
	if t == 1 {
		return groups, 1
	}
	up := func(n int) int { return (n + t - 1) / t * t }
	tiles, panels := (b.to-b.from)*b.tiles(), b.d.isa.panels(b.dy.c)
	more := min(tiles, up(max(groups, 2*t)))
	parts = min(panels, up((2*t+groups-1)/groups))
	x, y := tiles*b.d.isa.mr, panels*b.d.isa.nr
	if parts*x+groups*y < x+more*y {
		return groups, parts
	}
	return more, min(panels, (2*t+more-1)/more)
}

// group adds to, or writes, group k of tiles of panels [j0,j1) of dw. A panel of dy is packed, then goes over all tiles.
func (b *band) group(sc *scratch, dw []float32, k, groups, j0, j1 int, fresh bool) {
	d, mr, nr := b.d, b.d.isa.mr, b.d.isa.nr
	oc, run, pitch := b.dy.c, b.run(), b.tilePitch()
	t0, t1 := span((b.to-b.from)*b.tiles(), groups, k)
	a := grow32(&sc.a, (t1-t0)*pitch+slack)
	for t := t0; t < t1; {
		n := min(t1-t, b.tiles()-t%b.tiles()) // of one row of the window
		b.packPixels(a[(t-t0)*pitch:], t, n)
		t += n
	}
	packed := grow32(&sc.v, b.px*nr+slack)
	p := &sc.args
	*p = gemmArgs{ki: b.px, ko: 1, csa: uintptr(4 * mr), rsa: 4, b: ptr(packed, 0)}
	if !fresh {
		p.acc = 1
	}
	first, lines := b.dy.at(b.r0/b.dy.h, b.r0%b.dy.h, 0), 2 // of a pixel
	if b.pairs {
		lines = 4 // of two pixels
	}
	for j := j0; j < j1; j++ {
		b.packGradient(packed, j)
		width := d.isa.width(j, oc)
		p.ldc = uintptr(width * 4)
		for t := t0; t < t1; t++ {
			kh := b.from + t/b.tiles()
			i0, i1 := b.columns(t)
			// Meanwhile the next panel of dy comes in, a line with every pixel, or the next tile of x.
			if line := t - t0; line < lines && j+1 < j1 {
				p.fetchEvery(addr(b.dy.data, first+(j+1)*nr+line%2*16)+uintptr(4*(line/2)*b.px*oc), uintptr(4*oc))
			} else {
				p.fetch(addr(a, min(line+1, t1-t0-1)*pitch))
			}
			p.a, p.c = ptr(a, (t-t0)*pitch), ptr(dw, j*b.kernel*run*nr+(kh*run+i0)*width)
			if b.pairs {
				d.isa.pairs[i1-i0](p)
			} else {
				d.isa.kernel(i1-i0, width)(p)
			}
		}
	}
}

// runs tells f of the band's rows of dy, from row r on so many pixels.
func (b *band) runs(f func(r, pixels int)) {
	if b.flat() {
		f(b.r0, (b.r1-b.r0)*b.dy.w)
		return
	}
	for r := b.r0; r < b.r1; r++ {
		if b.counts(r) {
			f(r, b.dy.w)
		}
	}
}

// together is how many rows from r on lie evenly apart in x.
func (b *band) together(r int) int {
	if b.kernel == 1 && b.stride == 1 && b.x.halo == 0 {
		return b.r1 - r
	}
	to := r
	for to < b.r1 && b.counts(to) && to/b.dy.h == r/b.dy.h {
		to++
	}
	return to - r
}

// chunkOf is the memory from row r0 to row r1 of maps, halos between them included.
func chunkOf(m *image, r0, r1 int) []float32 {
	if r0 >= r1 {
		return nil
	}
	return m.data[m.at(r0/m.h, r0%m.h, 0):m.at((r1-1)/m.h, (r1-1)%m.h, m.w-1)]
}

// packGradient packs the channels of panel j of a band: dst[pixel][width].
func (b *band) packGradient(dst []float32, j int) {
	d, dy, nr := b.d, &b.dy, b.d.isa.nr
	width := d.isa.width(j, dy.c)
	channels := min(width, dy.c-j*nr)
	if b.pairs {
		b.runs(func(r, pixels int) {
			d.pairRows(dst, dy.data[dy.at(r/dy.h, r%dy.h, 0)+j*nr:], dy.c, pixels)
			dst = dst[(pixels+1)/2*nr:]
		})
		return
	}
	for r := b.r0; r < b.r1; r++ {
		if !b.counts(r) {
			continue
		}
		src := dy.row(r/dy.h, r%dy.h)[j*nr:]
		out := dst[:dy.w*width]
		dst = dst[dy.w*width:]
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

// packPixels packs n tiles from tile t on, which belong to one row of the window, for every output pixel of a band:
// dst[tile][pixel][mr], tiles being tilePitch apart.
func (b *band) packPixels(dst []float32, t, n int) {
	d, mr, step, pitch := b.d, b.d.isa.mr, b.stride*b.x.c, b.tilePitch()
	kh := b.from + t/b.tiles()
	from, to := b.columns(t)
	if b.pairs {
		b.runs(func(r, pixels int) {
			d.pairTiles(dst, b.x.data[b.pixel(r, kh)+from:], step, pixels, n, to-from, pitch)
			dst = dst[(pixels+1)/2*mr:]
		})
		return
	}
	for r := b.r0; r < b.r1; r++ {
		if !b.counts(r) {
			continue
		}
		at := b.pixel(r, kh) + from
		if d.isa.packs16 {
			pack14(ptr(dst, 0), ptr(b.x.data, at), uintptr(4*step), b.dy.w, n, uintptr(4*(to-from)), uintptr(4*pitch))
		} else {
			for p := range b.dy.w {
				for i := range n {
					i0, i1 := b.columns(t + i)
					copy(dst[i*pitch+p*mr:][:i1-i0], b.x.data[at+i0-from+p*step:])
				}
			}
		}
		dst = dst[b.dy.w*mr:]
	}
}
