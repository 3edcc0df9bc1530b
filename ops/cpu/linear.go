package cpu

// Linear layers go through their weights once, whatever the batch: with few samples the weights are most of what moves.

// linearSum is longSum of linear layers, whose sums are the longest and whose rounding a probe trained on them shows.
const linearSum = 64

// linear writes y [n,OC] = x [n,IC] · w, weights [panel of OC][IC][width]. exact adds the pieces of its sums in float64: a sum of
// thousands is then as good as one of linearSum, at some cost.
func (d *Device) linear(y, x, w []float32, n, ic, oc int, exact bool) {
	// Rows a power of two apart would share a set of the cache.
	pitch := ic + spread
	a := grow32(&d.linearA, n*pitch+slack)
	for b := range n {
		copy(a[b*pitch:][:ic], x[b*ic:])
	}
	run(d, &d.jobs.linear, d.isa.panels(oc), linear{y: image{n: 1, h: 1, w: n, c: oc, data: y}, a: a, w: w, ic: ic, pitch: pitch, exact: exact})
}

// linear is a panel of output channels of a linear layer on samples a, rows of ic values pitch apart.
type linear struct {
	y         image
	a, w      []float32
	ic, pitch int
	exact     bool
}

func (l *linear) do(d *Device, sc *scratch, j int) {
	n, oc := l.y.w, l.y.c
	width := d.isa.width(j, oc)
	tiles := (n + d.isa.mr - 1) / d.isa.mr
	p := &sc.args
	*p = gemmArgs{ko: 1, csa: 4, rsa: uintptr(4 * l.pitch), ldc: uintptr(4 * oc)}
	if l.exact {
		for t := range tiles {
			r0, r1 := span(n, tiles, t)
			l.sum(d, sc, j, r0, r1)
		}
		return
	}
	for k := 0; k < l.ic; k += linearSum {
		p.ki = min(linearSum, l.ic-k)
		p.b = ptr(l.w, j*l.ic*d.isa.nr+k*width)
		for t := range tiles {
			r0, r1 := span(n, tiles, t)
			p.a = ptr(l.a, r0*l.pitch+k)
			p.fetch(uintptr(p.b) + uintptr(4*width*p.ki+64*p.ki*t)) // the next piece of weights
			d.store(sc, &l.y, r0*oc, j, r1-r0, k > 0)
		}
	}
}

// sum is rows [r0,r1) of a panel, with sums of pieces in float64.
func (l *linear) sum(d *Device, sc *scratch, j, r0, r1 int) {
	const most = 512 // values of the largest tile of any kernel
	var sums [most]float64
	p, oc := &sc.args, l.y.c
	width := d.isa.width(j, oc)
	p.acc, p.c, p.ldc = 0, ptr(sc.tile, 0), uintptr(4*width)
	size := (r1 - r0) * width
	for k := 0; k < l.ic; k += linearSum {
		p.ki = min(linearSum, l.ic-k)
		p.a, p.b = ptr(l.a, r0*l.pitch+k), ptr(l.w, j*l.ic*d.isa.nr+k*width)
		d.isa.kernel(r1-r0, width)(p)
		for i, v := range sc.tile[:size] {
			sums[i] += float64(v)
		}
	}
	for i := range r1 - r0 {
		out := l.y.data[(r0+i)*oc+j*d.isa.nr:][:min(width, oc-j*d.isa.nr)]
		for c := range out {
			out[c] = float32(sums[i*width+c])
		}
	}
}

// linearBack writes, or adds, dx [n,IC] = dy [n,OC] · wᵀ: rows of the product are input channels and its columns are samples, so
// that the weights are read as they lie.
func (d *Device) linearBack(dx, dy, w []float32, n, ic, oc int, add bool) {
	b := grow32(&d.linearA, d.isa.padded(n)*oc+slack) // dyᵀ [panel of samples][OC][width]
	d.panelsOf(b, dy, n, oc)
	out := grow32(&d.linearB, ic*d.isa.padded(n)+slack) // dxᵀ [panel of samples][IC][width]
	chunks := pieces(ic, 8*d.isa.mr, 64)
	runAlong(d, &d.jobs.linearBack, chunks, linearBack{out, b, w, n, ic, oc, chunks})
	run(d, &d.jobs.linearRows, n, linearRows{dx, out, n, ic, add})
}

// linearBack is a piece of the input channels of dxᵀ.
type linearBack struct {
	out, b, w         []float32
	n, ic, oc, chunks int
}

func (l *linearBack) do(d *Device, sc *scratch, c int) {
	mr, nr := d.isa.mr, d.isa.nr
	np := d.isa.panels(l.oc)
	const group = 4 // panels of weights in one sum
	i0, i1 := span(l.ic, l.chunks, c)
	tiles := (i1 - i0 + mr - 1) / mr
	for s := range d.isa.panels(l.n) {
		width := d.isa.width(s, l.n)
		p := &sc.args
		*p = gemmArgs{csa: 4, ldc: uintptr(4 * width)}
		for q := 0; q < np; {
			// Panels of one width go together.
			run := 1
			cols := min(d.isa.width(q, l.oc), l.oc-q*nr)
			for q+run < np && run < group && cols == nr && l.oc-(q+run)*nr >= nr {
				run++
			}
			step := d.isa.width(q, l.oc)
			p.ki, p.ko, p.rsa, p.ja = cols, run, uintptr(4*step), uintptr(4*(l.ic*nr-cols))
			p.b = ptr(l.b, s*l.oc*nr+q*nr*width)
			for t := range tiles {
				r0, r1 := span(i1-i0, tiles, t)
				p.a = ptr(l.w, q*l.ic*nr+(i0+r0)*step)
				p.fetch(uintptr(p.a) + uintptr(4*2*mr*step))
				p.c = ptr(l.out, s*l.ic*nr+(i0+r0)*width)
				d.isa.kernel(r1-r0, width)(p)
			}
			p.acc = 1
			q += run
		}
	}
}

// linearRows transposes one sample of dxᵀ.
type linearRows struct {
	dx, out []float32
	n, ic   int
	add     bool
}

func (l *linearRows) do(d *Device, _ *scratch, r int) {
	nr := d.isa.nr
	s := r / nr
	width := d.isa.width(s, l.n)
	row := l.dx[r*l.ic:][:l.ic]
	col := l.out[s*l.ic*nr+r-s*nr:]
	for i := range row {
		v := col[i*width]
		if l.add {
			v += row[i]
		}
		row[i] = v
	}
}

// panelsOf transposes x [n,c] into panels over samples, dst [panel of n][c][width], zeros beyond the last sample.
func (d *Device) panelsOf(dst, x []float32, n, c int) {
	nr := d.isa.nr
	for s := range d.isa.panels(n) {
		width := d.isa.width(s, n)
		rows := min(width, n-s*nr)
		out := dst[s*c*nr:]
		d.transpose(out, x[s*nr*c:], rows, c, width, c, 0)
		for k := 0; rows < width && k < c; k++ {
			clear(out[k*width+rows:][:width-rows])
		}
	}
}
