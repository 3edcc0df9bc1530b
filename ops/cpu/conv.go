package cpu

import "unsafe"

// l2Panels is how many bytes of packed weights one pass over the image uses: they stay in the second-level cache.
const l2Panels = 512 << 10

// slicePanels is from how many bytes on a panel of weights is used in slices, one for all pixels before the next.
const slicePanels = 128 << 10

// longSum is how many products one sum takes before it is added to the others: rounding grows with the length of a sum.
const longSum = 512

// oneSet is how many rows a tile has whose pixels are a multiple of 4 KiB apart: they all fall into one set of the first-level cache.
// Where such a set holds fewer than oneSetWays lines they push each other out, and their pixels are copied.
const (
	oneSet     = 10
	oneSetWays = 12
)

// copyPanels is from how many panels of weights on pixels are copied: every panel uses the copy once.
const copyPanels = 4

// scratch is a worker's private memory.
type scratch struct {
	a       []float32 // a packed tile of A
	tile    []float32 // a tile of C whose columns go past the last channel
	tileSum []float32
	args    gemmArgs

	_ [128]byte // workers do not share cache lines

	own                copied
	tmp, edge, v, y, m []float32 // of Winograd: a tile in transit, a tile at the border, transformed tiles or weights, gradients, products
}

// window is a convolution as the row kernel sees it:
//
//	y[n, y0+i·ys, x0+j·ys, :] (+)= Σ_{kh,kw,c} x[n, i·s+h0+kh, j·s+w0+kw, c] · panel[(kh·KW+kw)·C+c][:]
//
// for i < oh, j < ow. Forward and backward-data of every stride are windows.
type window struct {
	kh, kw, s, h0, w0 int
	oh, ow            int
	ys, y0, x0        int
	add               bool
	turn              turn // weights to pack on the way, if any
	pairs             bool // of bfloat16, in the weights, and of x where it is used
}

// convolve runs a window over the first n maps of x, weights wp [panel of y.c][KH·KW·C][width]. With q.turn they are packed on the
// way.
func (d *Device) convolve(x, y *image, n int, wp []float32, q window) {
	j := windowRows{x: *x, y: *y, wp: wp, q: q, rows: n * q.oh, cols: q.ow}
	if j.rows == 0 || j.cols == 0 {
		return
	}
	if q.kh == 1 && q.kw == 1 && q.s == 1 && q.ys == 1 && x.halo == 0 && y.halo == 0 && q.oh == x.h && q.ow == x.w && x.h == y.h && x.w == y.w {
		j.flat, j.rows, j.cols = true, 1, j.rows*j.cols
	}
	j.cut(&d.isa)
	units := j.rows
	if j.flat {
		units = (j.cols + j.mr - 1) / j.mr
	}
	work := float64(q.kh*q.kw*x.c*y.c) * float64(j.rows*j.cols)
	chunks := max(1, min(128, int(work/2e6)))
	np := d.isa.panels(y.c)
	block := min(np, max(1, l2Panels/(j.bytes()*j.depth*d.isa.nr)))
	if q.turn.w != nil {
		block = min(block, max(1, np/d.pool.threads))
	}
	j.blocks, j.groups, j.parts = (np+block-1)/block, 1, 1
	if q.turn.w == nil {
		j.groups = min(units, (chunks+j.blocks-1)/j.blocks)
		if t := d.pool.threads; j.groups >= t && len(x.data) > q.kh*q.kw*x.c*np*d.isa.nr {
			j.groups, j.parts = j.groups/t*t, t
		}
	}
	runAlong(d, &d.jobs.windowRows, j.blocks*j.groups, j)
}

// windowRows does a block of a window's panels for a group of its rows or, flat, of the tiles of its one row. Blocks come first: their
// weights stay in the second-level cache while the groups go by. Where the maps are larger than the weights the groups are dealt out to
// the workers before that, so that each reads its own part of the maps and all weights, not all maps and its part of the weights.
type windowRows struct {
	x, y           image
	wp             []float32
	q              window
	flat           bool
	rows, cols     int
	blocks, groups int
	parts          int // into which groups are dealt out

	// The sums of one output are cut into calls of the kernel: of taps rows of the window or, if it is one pixel, of pieces of the
	// channels.
	mr     int // rows of a tile
	taps   int // rows of the window
	calls  int
	sliced bool // a call at a time for all rows
	copied bool // a tile's pixels
	depth  int  // products of the weights that are used together
}

// cut decides in which order products are summed.
func (j *windowRows) cut(k *isa) {
	q, c := &j.q, j.x.c
	total := q.kh * q.kw * c
	j.mr = k.mr
	if q.pairs { // which round much more than long sums do
		j.taps, j.calls, j.depth = q.kh, 1, total
		return
	}
	if q.kh*q.kw == 1 && (q.s*c*4)%4096 == 0 && k.mr > oneSet {
		if j.copied = k.ways < oneSetWays && k.panels(j.y.c) >= copyPanels; !j.copied {
			j.mr = oneSet
		}
	}
	// Long sums are cut, where a row of the window ends.
	j.taps = min(q.kh, max(1, longSum/(q.kw*c)))
	j.calls = (q.kh + j.taps - 1) / j.taps
	j.depth = j.taps * q.kw * c
	if q.kh*q.kw == 1 {
		j.calls, j.depth = (c+longSum-1)/longSum, min(c, longSum)
	}
	if j.sliced = j.calls > 1 && 4*total*k.nr > slicePanels; !j.sliced {
		j.depth = total
	}
}

// bytes is how many a weight takes.
func (j *windowRows) bytes() int {
	if j.q.pairs {
		return 2
	}
	return 4
}

func (j *windowRows) do(d *Device, sc *scratch, c int) {
	each := j.groups / j.parts
	part, c := c/(j.blocks*each), c%(j.blocks*each)
	j0, j1 := span(d.isa.panels(j.y.c), j.blocks, c/each)
	g := part*each + c%each
	r0, r1, c0, c1 := 0, 1, 0, j.cols
	if j.flat {
		c0, c1 = span((j.cols+j.mr-1)/j.mr, j.groups, g)
		c0, c1 = c0*j.mr, min(c1*j.mr, j.cols)
	} else {
		r0, r1 = span(j.rows, j.groups, g)
	}
	w := windowCall{windowRows: j, d: d, sc: sc, j0: j0, j1: j1}
	sc.args = gemmArgs{
		csa: 4, rsa: uintptr(j.q.s * j.x.c * 4), ldc: uintptr(j.q.ys * j.y.c * 4),
		ki: j.q.kw * j.x.c, ja: uintptr(j.rowLen()-j.q.kw*j.x.c) * 4,
	}
	if !j.sliced {
		w.pack(0, j.calls)
		w.pixels(r0, r1, c0, c1, 0, j.calls)
		return
	}
	for o := range j.calls {
		w.pack(o, o+1)
		w.pixels(r0, r1, c0, c1, o, o+1)
	}
}

// rowLen is how many floats a row of x has.
func (j *windowRows) rowLen() int { return (j.x.w + 2*j.x.halo) * j.x.c }

// windowCall is a block of panels on one worker.
type windowCall struct {
	*windowRows
	d      *Device
	sc     *scratch
	j0, j1 int       // panels
	own    []float32 // weights that it packed, from product from on
	from   int
}

// pack packs the block's weights of calls [o0,o1), when nobody did before.
func (w *windowCall) pack(o0, o1 int) {
	t := &w.q.turn
	if t.w == nil {
		return
	}
	d, nr := w.d, w.d.isa.nr
	t0, t1, c0, c1 := o0*w.taps*w.q.kw, min(w.q.kh, o1*w.taps)*w.q.kw, 0, w.x.c
	if w.q.kh*w.q.kw == 1 {
		t0, t1, c0, c1 = 0, 1, o0*longSum, min(w.x.c, o1*longSum)
	}
	w.own, w.from = grow32(&w.sc.v, (w.j1-w.j0)*w.depth*nr+slack), t0*w.x.c+c0
	for j := w.j0; j < w.j1; j++ {
		d.turnPanel(w.own[(j-w.j0)*w.depth*nr:], t, w.y.c, w.x.c, j, t0, t1, c0, c1)
	}
}

// weights is where panel j's weights from product k on are.
func (w *windowCall) weights(j, k, width int) unsafe.Pointer {
	nr := w.d.isa.nr
	if w.q.turn.w == nil {
		return ptr(w.wp, (j*w.q.kh*w.q.kw*w.x.c*nr+k*width)*w.bytes()/4)
	}
	return ptr(w.own, (j-w.j0)*w.depth*nr+(k-w.from)*width)
}

// pixels does calls [o0,o1) of rows [r0,r1) (image and row index in one) and columns [c0,c1).
func (w *windowCall) pixels(r0, r1, colFrom, colTo, o0, o1 int) {
	q, x, y := &w.q, &w.x, &w.y
	for r := r0; r < r1; r++ {
		n, i := r/q.oh, r%q.oh
		// Rows of the window that lie wholly in the halo add nothing.
		kh0, kh1 := 0, q.kh
		if q.kh > 1 {
			for kh0 < kh1-1 && i*q.s+q.h0+kh0 < 0 {
				kh0++
			}
			for kh1 > kh0+1 && i*q.s+q.h0+kh1-1 >= x.h {
				kh1--
			}
		}
		var xb, yb int
		if !w.flat {
			xb, yb = x.at(n, i*q.s+q.h0, q.w0), y.at(n, q.y0+i*q.ys, q.x0)
		}
		tiles := (colTo - colFrom + w.mr - 1) / w.mr
		for t := range tiles {
			c0, c1 := span(colTo-colFrom, tiles, t)
			c0, c1 = colFrom+c0, colFrom+c1
			at := xb + c0*q.s*x.c
			next := at
			if c1 < colTo {
				next = xb + c1*q.s*x.c
			}
			switch yc, m := yb+c0*q.ys*y.c, c1-c0; {
			case q.pairs:
				w.pairTile(at, next, yc, m, kh0, kh1)
			case q.kh*q.kw == 1:
				w.pixelTile(at, next, yc, m, o0, o1)
			default:
				w.windowTile(at, next, yc, m, o0, o1, kh0, kh1)
			}
		}
	}
}

// windowTile does calls [o0,o1) of m columns of a row of which rows [kh0,kh1) of the window count. next is where the next columns'
// pixels lie.
func (w *windowCall) windowTile(at, next, yc, m, o0, o1, kh0, kh1 int) {
	d, p, rowLen, run := w.d, &w.sc.args, w.rowLen(), w.q.kw*w.x.c
	for j := w.j0; j < w.j1; j++ {
		width := d.isa.width(j, w.y.c)
		for o := o0; o < o1; o++ {
			h0, h1 := max(kh0, o*w.taps), min(kh1, (o+1)*w.taps)
			if h0 >= h1 {
				continue
			}
			p.ko, p.a, p.b = h1-h0, ptr(w.x.data, at+h0*rowLen), w.weights(j, h0*run, width)
			if j < w.j0+w.q.s {
				p.fetch(addr(w.x.data, next) + uintptr((j-w.j0)*64*run*w.q.kh))
			} else {
				p.fetch(uintptr(p.b) + uintptr(4*run*w.taps*width))
			}
			d.store(w.sc, &w.y, yc, j, m, w.q.add || h0 > kh0)
		}
	}
}

// pixelTile is windowTile for a window of one pixel.
func (w *windowCall) pixelTile(at, next, yc, m, o0, o1 int) {
	d, p, k := w.d, &w.sc.args, w.x.c
	p.ko = 1
	x, first, apart := w.x.data[at:], 0, uintptr(4*w.q.s*k)
	if w.copied {
		first = o0 * longSum
		x = w.copyPixels(x, m, first, min(k, o1*longSum))
	}
	for j := w.j0; j < w.j1; j++ {
		width := d.isa.width(j, w.y.c)
		for o := o0; o < o1; o++ {
			from := o * longSum
			p.ki, p.a, p.b = min(longSum, k-from), ptr(x, from-first), w.weights(j, from, width)
			switch {
			case w.sliced && 2*(j-w.j0) < m:
				p.fetchTwo(addr(w.x.data, next+from)+uintptr(j-w.j0)*2*apart, apart)
			case !w.sliced && j < w.j0+w.q.s:
				p.fetch(addr(w.x.data, next) + uintptr(64*(from+(j-w.j0)*k)))
			default:
				p.fetch(uintptr(p.b) + uintptr(4*p.ki*width))
			}
			d.store(w.sc, &w.y, yc, j, m, w.q.add || o > 0)
		}
	}
}

// copyPixels copies channels [from,to) of m pixels to where they do not share a set of the cache.
func (w *windowCall) copyPixels(x []float32, m, from, to int) []float32 {
	pitch := to - from + spread
	a := grow32(&w.sc.a, m*pitch+slack)
	for i := range m {
		copy(a[i*pitch:], x[i*w.q.s*w.x.c:][from:to])
	}
	w.sc.args.rsa = uintptr(4 * pitch)
	return a
}

// store runs the kernel of m rows with sc.args on a tile whose columns are panel j of y. The last panel may have fewer channels than the
// kernel computes: it goes through a private tile.
func (d *Device) store(sc *scratch, y *image, at, j, m int, add bool) {
	nr, p := d.isa.nr, &sc.args
	width := d.isa.width(j, y.c)
	channels := min(width, y.c-j*nr)
	p.acc = 0
	if channels == width {
		p.c = ptr(y.data, at+j*nr)
		if add {
			p.acc = 1
		}
		d.isa.kernel(m, width)(p)
		return
	}
	ldc := p.ldc
	p.c, p.ldc = ptr(sc.tile, 0), uintptr(width*4)
	d.isa.kernel(m, width)(p)
	p.ldc = ldc
	step := int(ldc / 4)
	for i := range m {
		dst, src := y.data[at+i*step+j*nr:][:channels], sc.tile[i*width:][:channels]
		if !add {
			copy(dst, src)
			continue
		}
		for c := range dst {
			dst[c] += src[c]
		}
	}
}

// turn is the weights of a convolution, [panel of OC][KH·KW·IC][width], that a window over its output's gradient packs anew.
type turn struct {
	w      []float32
	kernel int
	taps   []int
	pairs  bool // of output channels, in bfloat16
}

// packBackward turns the panels of weights w over oc channels, K = KH·KW·IC, into panels over input channels for the given
// taps: dst[panel of IC][tap·OC+oc][width] = w[tap·IC+ic][oc].
func (d *Device) packBackward(dst []float32, t turn, ic, oc int) {
	run(d, &d.jobs.packBackward, d.isa.panels(ic), packBackward{dst, t, ic, oc})
}

// packBackward packs one panel.
type packBackward struct {
	dst []float32
	turn
	ic, oc int
}

func (b *packBackward) do(d *Device, sc *scratch, j int) {
	if b.pairs {
		d.turnPairs(sc, b.dst[j*len(b.taps)*b.oc/2*d.isa.nr:], &b.turn, b.ic, b.oc, j)
		return
	}
	d.turnPanel(b.dst[j*len(b.taps)*b.oc*d.isa.nr:], &b.turn, b.ic, b.oc, j, 0, len(b.taps), 0, b.oc)
}

// turnPanel packs taps [t0,t1) and output channels [o0,o1) of panel j of the input channels; o0 is where a panel begins.
func (d *Device) turnPanel(dst []float32, b *turn, ic, oc, j, t0, t1, o0, o1 int) {
	nr, from := d.isa.nr, b.kernel*b.kernel*ic
	width := d.isa.width(j, ic)
	rows := min(width, ic-j*nr)
	for t := t0; t < t1; t++ {
		out := dst[(t-t0)*(o1-o0)*width:][:(o1-o0)*width]
		for o := o0; o < o1; o += nr {
			q := o / nr
			wide := d.isa.width(q, oc)
			src := b.w[q*from*nr+(b.taps[t]*ic+j*nr)*wide:]
			d.transpose(out[(o-o0)*width:], src, rows, min(wide, o1-o), width, wide, from*nr)
		}
		for o := 0; rows < width && o < o1-o0; o++ {
			clear(out[o*width+rows:][:width-rows])
		}
	}
}

// transpose is dst[c][r] = src[r][c] for r < rows, c < cols, rows of dst and src being ds and ss floats apart. What lies next
// floats after src is fetched meanwhile.
func (d *Device) transpose(dst, src []float32, rows, cols, ds, ss, next int) {
	n := 1
	switch {
	case d.isa.packs16:
		n = 16
	case d.isa.vector:
		n = 8
	}
	r0, c0 := rows/n*n, cols/n*n
	if n == 1 {
		r0, c0 = 0, 0
	}
	for r := 0; r < r0; r += n {
		for c := 0; c < c0; c += n {
			if n == 16 {
				transpose16(ptr(dst, c*ds+r), ptr(src, r*ss+c), uintptr(4*ds), uintptr(4*ss), uintptr(4*next))
			} else {
				transpose8(ptr(dst, c*ds+r), ptr(src, r*ss+c), uintptr(4*ds), uintptr(4*ss), uintptr(4*next))
			}
		}
	}
	for r := range rows {
		from := 0
		if r < r0 {
			from = c0
		}
		for c := from; c < cols; c++ {
			dst[c*ds+r] = src[r*ss+c]
		}
	}
}
