package cpu

import "unsafe"

// l2Panels is how many bytes of packed weights one pass over the image uses: they stay in the second-level cache.
const l2Panels = 512 << 10

// longSum is how many products one sum takes before it is added to the others: rounding grows with the length of a sum.
const longSum = 512

// scratch is a worker's private memory.
type scratch struct {
	a       []float32 // a packed tile of A
	tile    []float32 // a tile of C whose columns go past the last channel
	tileSum []float32
	args    gemmArgs

	_ [128]byte // workers do not share cache lines

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
}

// convolve runs a window over the first n maps of x, weights wp [panel of y.c][KH·KW·C][width].
func (d *Device) convolve(x, y *image, n int, wp []float32, q window) {
	rows, cols := n*q.oh, q.ow
	flat := q.kh == 1 && q.kw == 1 && q.s == 1 && q.ys == 1 && x.halo == 0 && y.halo == 0 &&
		q.oh == x.h && q.ow == x.w && x.h == y.h && x.w == y.w
	if flat { // one long row of pixels, cut into pieces below
		cols = rows * cols
		rows = 1
	}
	if rows == 0 || cols == 0 {
		return
	}
	work := float64(q.kh*q.kw*x.c*y.c) * float64(rows*cols)
	chunks := max(1, min(64, int(work/2e6)))
	if flat {
		tiles := (cols + d.isa.mr - 1) / d.isa.mr
		chunks = min(chunks, tiles)
		run(d, &d.jobs.windowRows, chunks, windowRows{*x, *y, wp, q, true, tiles, cols, chunks})
		return
	}
	chunks = min(chunks, rows)
	run(d, &d.jobs.windowRows, chunks, windowRows{*x, *y, wp, q, false, rows, cols, chunks})
}

// windowRows does a share of a window's rows or, flat, of the tiles of its one row.
type windowRows struct {
	x, y                image
	wp                  []float32
	q                   window
	flat                bool
	total, cols, chunks int
}

func (j *windowRows) do(d *Device, sc *scratch, c int) {
	from, to := span(j.total, j.chunks, c)
	if j.flat {
		d.convolveRows(sc, &j.x, &j.y, j.wp, j.q, true, 0, 1, from*d.isa.mr, min(to*d.isa.mr, j.cols))
		return
	}
	d.convolveRows(sc, &j.x, &j.y, j.wp, j.q, false, from, to, 0, j.cols)
}

// convolveRows does rows [r0,r1) (image and row index in one) and columns [c0,c1) of a window.
func (d *Device) convolveRows(sc *scratch, x, y *image, wp []float32, q window, flat bool, r0, r1, colFrom, colTo int) {
	mr, nr := d.isa.mr, d.isa.nr
	k := q.kh * q.kw * x.c
	np := d.isa.panels(y.c)
	block := min(np, max(1, l2Panels/(k*nr*4)))
	rowLen := (x.w + 2*x.halo) * x.c
	p := &sc.args
	*p = gemmArgs{
		ki: q.kw * x.c, csa: 4,
		rsa: uintptr(q.s * x.c * 4), ja: uintptr((rowLen - q.kw*x.c) * 4),
	}
	// Rows of A a multiple of 4 KiB apart would all fall into one set of the first-level cache: copy the tile.
	copyA := q.kh == 1 && q.kw == 1 && ((q.s*x.c*4)%4096 == 0 || x.c > longSum)
	// Long sums are cut where a row of the window ends, as the copy cuts them.
	run := p.ki
	taps := max(1, longSum/run)
	ldc := uintptr(q.ys * y.c * 4)
	for j0 := 0; j0 < np; j0 += block {
		je := min(np, j0+block)
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
			if flat {
				xb, yb = 0, 0
			} else {
				xb, yb = x.at(n, i*q.s+q.h0+kh0, q.w0), y.at(n, q.y0+i*q.ys, q.x0)
			}
			tiles := (colTo - colFrom + mr - 1) / mr
			for t := range tiles {
				c0, c1 := span(colTo-colFrom, tiles, t)
				c0, c1 = colFrom+c0, colFrom+c1
				m := c1 - c0
				a := ptr(x.data, xb+c0*q.s*x.c)
				next := a
				if c1 < colTo {
					next = ptr(x.data, xb+c1*q.s*x.c)
				}
				if copyA {
					d.panelsCopied(sc, y, wp, j0, je, k, m, a, next, yb+c0*q.ys*y.c, ldc, q.add)
					continue
				}
				for j := j0; j < je; j++ {
					p.pf = uintptr(next)
					if j > j0 {
						p.pf = addr(wp, j*k*nr)
					}
					width := d.isa.width(j, y.c)
					for o := kh0; o < kh1; o += taps {
						p.ko = min(taps, kh1-o)
						p.a = unsafe.Add(a, (o-kh0)*rowLen*4)
						p.b = ptr(wp, j*k*nr+o*run*width)
						d.store(sc, y, yb+c0*q.ys*y.c, j, m, ldc, q.add || o > kh0)
					}
				}
			}
		}
	}
}

// panelsCopied is the inner loop of a 1×1 convolution whose tile of A is copied in pieces first.
func (d *Device) panelsCopied(sc *scratch, y *image, wp []float32, j0, je, k, m int, a, next unsafe.Pointer, yc int, ldc uintptr, add bool) {
	const depth = longSum
	const pitch = depth + 16
	p := &sc.args
	rsa := p.rsa
	p.rsa, p.ko = pitch*4, 1
	for at := 0; at < k; at += depth {
		kc := min(depth, k-at)
		for i := range m {
			src := unsafe.Slice((*float32)(unsafe.Add(a, uintptr(i)*rsa+uintptr(at)*4)), kc)
			copy(sc.a[i*pitch:], src)
		}
		p.a, p.ki, p.pf = ptr(sc.a, 0), kc, uintptr(next)+uintptr(at*4)
		for j := j0; j < je; j++ {
			p.b = ptr(wp, j*k*d.isa.nr+at*d.isa.width(j, y.c))
			d.store(sc, y, yc, j, m, ldc, add || at > 0)
		}
	}
	p.rsa = rsa
}

// store runs the kernel of m rows with sc.args on a tile whose columns are panel j of y. The last panel may have fewer channels than the
// kernel computes: it goes through a private tile.
func (d *Device) store(sc *scratch, y *image, at, j, m int, ldc uintptr, add bool) {
	nr := d.isa.nr
	width := d.isa.width(j, y.c)
	channels := min(width, y.c-j*nr)
	kernel, p := d.isa.kernel(m, width), &sc.args
	if channels == width {
		p.c, p.ldc, p.acc = ptr(y.data, at+j*nr), ldc, 0
		if add {
			p.acc = 1
		}
		kernel(p)
		return
	}
	p.c, p.ldc, p.acc = ptr(sc.tile, 0), uintptr(width*4), 0
	kernel(p)
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

// packBackward turns the panels of weights w over oc channels, K = KH·KW·IC, into panels over input channels for the given
// taps: dst[panel of IC][tap·OC+oc][width] = w[tap·IC+ic][oc].
func (d *Device) packBackward(dst, w []float32, taps []int, kernel, ic, oc int) {
	run(d, &d.jobs.packBackward, d.isa.panels(ic), packBackward{dst, w, taps, kernel, ic, oc})
}

// packBackward packs one panel.
type packBackward struct {
	dst, w         []float32
	taps           []int
	kernel, ic, oc int
}

func (b *packBackward) do(d *Device, _ *scratch, j int) {
	nr, ic, oc := d.isa.nr, b.ic, b.oc
	k, from := len(b.taps)*oc, b.kernel*b.kernel*ic
	width := d.isa.width(j, ic)
	rows := min(width, ic-j*nr)
	out := b.dst[j*k*nr:][:k*width]
	for t, tap := range b.taps {
		for q := range d.isa.panels(oc) {
			wide := d.isa.width(q, oc)
			cols := min(wide, oc-q*nr)
			src := b.w[q*from*nr+(tap*ic+j*nr)*wide:]
			d.transpose(out[(t*oc+q*nr)*width:], src, rows, cols, width, wide, from*nr)
		}
		if rows < width {
			for o := range oc {
				clear(out[(t*oc+o)*width+rows:][:width-rows])
			}
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
