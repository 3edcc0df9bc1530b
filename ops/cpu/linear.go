package cpu

// Linear layers go through their weights once, whatever the batch: with few samples the weights are most of what moves.

// linear writes y [n,OC] = x [n,IC] · w, weights [panel of OC][IC][width].
func (d *Device) linear(y, x, w []float32, n, ic, oc int) {
	nr := d.isa.nr
	// Rows a power of two apart would share a set of the cache.
	pitch := ic + spread
	a := grow32(&d.linearA, n*pitch+slack)
	for b := range n {
		copy(a[b*pitch:][:ic], x[b*ic:])
	}
	tiles := (n + d.isa.mr - 1) / d.isa.mr
	out := &image{n: 1, h: 1, w: n, c: oc, data: y}
	d.pool.run(d.isa.panels(oc), func(wk, j int) {
		width := d.isa.width(j, oc)
		p := &d.scratch[wk].args
		*p = gemmArgs{ko: 1, csa: 4, rsa: uintptr(4 * pitch)}
		for k := 0; k < ic; k += longSum {
			p.ki = min(longSum, ic-k)
			p.b = ptr(w, j*ic*nr+k*width)
			for t := range tiles {
				r0, r1 := span(n, tiles, t)
				p.a = ptr(a, r0*pitch+k)
				p.pf = uintptr(p.b) + uintptr(4*width*p.ki+64*p.ki*t) // the next piece of weights
				d.store(&d.scratch[wk], out, r0*oc, j, r1-r0, uintptr(4*oc), k > 0)
			}
		}
	})
}

// linearBack writes, or adds, dx [n,IC] = dy [n,OC] · wᵀ: rows of the product are input channels and its columns are samples, so
// that the weights are read as they lie.
func (d *Device) linearBack(dx, dy, w []float32, n, ic, oc int, add bool) {
	mr, nr := d.isa.mr, d.isa.nr
	np := d.isa.panels(oc)
	wide := d.isa.padded(n)
	b := grow32(&d.linearA, d.isa.padded(n)*oc+slack) // dyᵀ [panel of samples][OC][width]
	d.panelsOf(b, dy, n, oc)
	out := grow32(&d.linearB, ic*wide+slack) // dxᵀ [panel of samples][IC][width]
	const group = 4                          // panels of weights in one sum
	chunks := pieces(ic, 8*mr, 64)
	d.pool.run(chunks, func(wk, c int) {
		i0, i1 := span(ic, chunks, c)
		tiles := (i1 - i0 + mr - 1) / mr
		for s := range d.isa.panels(n) {
			width := d.isa.width(s, n)
			p := &d.scratch[wk].args
			*p = gemmArgs{csa: 4, ldc: uintptr(4 * width)}
			for q := 0; q < np; {
				// Panels of one width go together.
				run := 1
				cols := min(d.isa.width(q, oc), oc-q*nr)
				for q+run < np && run < group && cols == nr && oc-(q+run)*nr >= nr {
					run++
				}
				step := d.isa.width(q, oc)
				p.ki, p.ko, p.rsa, p.ja = cols, run, uintptr(4*step), uintptr(4*(ic*nr-cols))
				p.b = ptr(b, s*oc*nr+q*nr*width)
				for t := range tiles {
					r0, r1 := span(i1-i0, tiles, t)
					p.a = ptr(w, q*ic*nr+(i0+r0)*step)
					p.pf = uintptr(p.a) + uintptr(4*2*mr*step)
					p.c = ptr(out, s*ic*nr+(i0+r0)*width)
					d.isa.kernel(r1-r0, width)(p)
				}
				p.acc = 1
				q += run
			}
		}
	})
	d.pool.run(n, func(_, r int) {
		s := r / nr
		width := d.isa.width(s, n)
		row := dx[r*ic:][:ic]
		col := out[s*ic*nr+r-s*nr:]
		for i := range row {
			v := col[i*width]
			if add {
				v += row[i]
			}
			row[i] = v
		}
	})
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
