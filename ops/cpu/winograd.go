package cpu

// winograd is a 3×3 convolution of stride one as 36 matrix products over tiles of 4×4 output pixels: 2.25 multiplications for
// nine. Its rounding differs from the direct sum's by some 1e-5 of the largest value (BENCHMARKS.md), so that
// Options.Direct leaves it out.
type winograd struct {
	u     []float32 // transformed weights [36][panels(OC)][IC][nr]
	block int       // tiles at a time
}

// winoTiles is how many tiles n maps of h×w have.
func winoTiles(n, h, w int) int { return n * ((h + 3) / 4) * ((w + 3) / 4) }

// winoPays says whether the transforms cost less than the multiplications they save, by the rates measured in BENCHMARKS.md:
// those of the weights weigh on wide layers of few tiles.
func winoPays(n, h, w, ic, oc int) bool {
	if ic%8 != 0 || oc%8 != 0 {
		return false
	}
	const flops, stream = 100e9, 12e9 // multiply-add operations and transformed bytes a second, of one core
	tiles := float64(winoTiles(n, h, w))
	channels := float64(ic) * float64(oc)
	direct := 2 * 9 * channels * float64(n*h*w) / flops
	products := 2 * 36 * channels * tiles / flops
	transforms := 4 * 36 * (channels + tiles*float64(ic+oc)) / stream
	return products+transforms < 0.85*direct
}

// winoBlock is how many tiles stay in the second-level cache with their products.
func winoBlock(mr, ic, oc int) int {
	n := (700 << 10) / (4 * 36 * (ic + oc))
	return max(mr, min(4*mr, n/mr*mr))
}

// pad keeps rows that are a power of two apart out of one set of the cache.
const pad = 16

// weights transforms the packed weights wp [panels][9·IC][nr].
func (g *winograd) weights(d *Device, wp []float32, ic, np int) {
	nr := d.isa.nr
	if g.u == nil {
		g.u = aligned(36*np*ic*nr + slack)
	}
	d.pool.run(np, func(w, j int) {
		tmp := d.scratch[w].points()
		for i := range ic {
			src := grid{wp, (j*9*ic + i) * nr, 3 * ic * nr, ic * nr}
			winoWeight.apply(d.isa.vector, grid{g.u, (j*ic + i) * nr, 6 * np * ic * nr, np * ic * nr}, src, nr, tmp)
		}
	})
}

// points is room for one tile.
func (s *scratch) points() []float32 { return grow32(&s.tmp, 36*8) }

// tilesOf splits a tile's number into image, row and column of its first output pixel.
func tilesOf(t, h, w int) (n, i, j int) {
	th, tw := (h+3)/4, (w+3)/4
	return t / (th * tw), t / tw % th * 4, t % tw * 4
}

// inputTile is the 6×6 pixels behind a tile, copied with zeros where they would leave the halo.
func inputTile(x *image, n, i, j int, buf []float32) grid {
	if i+5 <= x.h+x.halo && j+5 <= x.w+x.halo {
		return grid{x.data, x.at(n, i-1, j-1), (x.w + 2*x.halo) * x.c, x.c}
	}
	for a := range 6 {
		for b := range 6 {
			to := buf[(a*6+b)*x.c:][:x.c]
			if i-1+a >= x.h || j-1+b >= x.w {
				clear(to)
			} else {
				copy(to, x.data[x.at(n, i-1+a, j-1+b):])
			}
		}
	}
	return grid{buf, 0, 6 * x.c, x.c}
}

// convolve writes, or adds, the convolution of n haloed maps x.
func (g *winograd) convolve(d *Device, x, y *image, n int, add bool) {
	nr := d.isa.nr
	ic, np := x.c, panels(y.c, nr)
	wide := np * nr
	total := winoTiles(n, y.h, y.w)
	blocks := (total + g.block - 1) / g.block
	vp, mp := ic+pad, wide+pad
	d.pool.run(blocks, func(w, blk int) {
		sc := &d.scratch[w]
		t0, t1 := span(total, blocks, blk)
		tb := t1 - t0
		v, m := grow32(&sc.v, 36*g.block*vp+slack), grow32(&sc.m, 36*g.block*mp+slack)
		edge := grow32(&sc.edge, 36*max(ic, wide)+slack)
		tmp := sc.points()
		for t := range tb {
			b, i, j := tilesOf(t0+t, y.h, y.w)
			winoInput.apply(d.isa.vector, grid{v, t * vp, 6 * tb * vp, tb * vp}, inputTile(x, b, i, j, edge), ic, tmp)
		}
		g.products(d, v, m, tb, ic, np, vp, mp)
		for t := range tb {
			b, i, j := tilesOf(t0+t, y.h, y.w)
			src := grid{m, t * mp, 6 * tb * mp, tb * mp}
			if !add && i+4 <= y.h && j+4 <= y.w {
				winoOutput.apply(d.isa.vector, grid{y.data, y.at(b, i, j), (y.w + 2*y.halo) * y.c, y.c}, src, y.c, tmp)
				continue
			}
			winoOutput.apply(d.isa.vector, grid{edge, 0, 4 * y.c, y.c}, src, y.c, tmp)
			rows, cols := min(4, y.h-i), min(4, y.w-j)
			for a := range rows {
				to, from := y.data[y.at(b, i+a, j):][:cols*y.c], edge[a*4*y.c:]
				if !add {
					copy(to, from)
					continue
				}
				for k := range to {
					to[k] += from[k]
				}
			}
		}
	})
}

// products are the 36 products V[tb,IC]·U[IC,OC] of a block.
func (g *winograd) products(d *Device, v, m []float32, tb, ic, np, vp, mp int) {
	mr, nr := d.isa.mr, d.isa.nr
	p := gemmArgs{ki: ic, ko: 1, rsa: uintptr(4 * vp), csa: 4, ldc: uintptr(4 * mp)}
	cuts := (tb + mr - 1) / mr
	for xi := range 36 {
		for c := range cuts {
			r0, r1 := span(tb, cuts, c)
			p.a = ptr(v, (xi*tb+r0)*vp)
			for j := range np {
				at := (xi*np + j) * ic * nr
				p.b, p.pf = ptr(g.u, at), ptr(g.u, min(at+ic*nr, len(g.u)-slack))
				p.c = ptr(m, (xi*tb+r0)*mp+j*nr)
				d.isa.gemm[r1-r0](&p)
			}
		}
	}
}

// winoGradBlock is how many tiles one product of the weights' gradient sums over.
const winoGradBlock = 96

// winoBackWeight adds the weights' gradient [9·IC][OC]: dU = V'·Y over all tiles, then G'·dU·G.
func (d *Device) winoBackWeight(dw []float32, x, dy *image, n int) {
	mr, nr := d.isa.mr, d.isa.nr
	ic, oc := x.c, dy.c
	np := panels(oc, nr)
	total := winoTiles(n, dy.h, dy.w)
	blocks := (total + winoGradBlock - 1) / winoGradBlock
	most := (total + blocks - 1) / blocks
	vp := ic + pad
	v, y := grow32(&d.winoV, 36*most*vp+slack), grow32(&d.winoY, 36*np*most*nr+slack)
	du := grow32(&d.winoU, 36*ic*oc+slack)
	cuts := (ic + mr - 1) / mr
	for blk := range blocks {
		t0, t1 := span(total, blocks, blk)
		tb := t1 - t0
		d.pool.run(tb, func(w, t int) {
			sc := &d.scratch[w]
			edge, tmp := grow32(&sc.edge, 36*max(ic, np*nr)+slack), sc.points()
			b, i, j := tilesOf(t0+t, dy.h, dy.w)
			winoInput.apply(d.isa.vector, grid{v, t * vp, 6 * tb * vp, tb * vp}, inputTile(x, b, i, j, edge), ic, tmp)
			src := gradTile(dy, b, i, j, edge)
			for p := range np { // columns beyond the last channel are never stored
				c := min(nr, oc-p*nr)
				winoGrad.apply(d.isa.vector, grid{y, (p*tb + t) * nr, 6 * np * tb * nr, np * tb * nr}, src.channel(p*nr), c, tmp)
			}
		})
		d.pool.run(36*cuts, func(w, k int) {
			xi := k / cuts
			r0, r1 := span(ic, cuts, k%cuts)
			p := gemmArgs{ki: tb, ko: 1, csa: uintptr(4 * vp), rsa: 4, a: ptr(v, xi*tb*vp+r0)}
			into := image{n: 1, h: 1, w: r1 - r0, c: oc, data: du[(xi*ic+r0)*oc:]}
			for j := range np {
				p.b = ptr(y, (xi*np+j)*tb*nr)
				p.pf = p.b
				d.store(&d.scratch[w], &p, d.isa.gemm[r1-r0], &into, 0, j, r1-r0, uintptr(4*oc), blk > 0)
			}
		})
	}
	d.pool.run(ic, func(w, i int) {
		winoWeightGrad.apply(d.isa.vector, grid{dw, i * oc, 3 * ic * oc, ic * oc}, grid{du, i * oc, 6 * ic * oc, ic * oc}, oc, d.scratch[w].points())
	})
}

// channel is the grid from channel c on.
func (g grid) channel(c int) grid {
	g.at += c
	return g
}

// gradTile is the 4×4 pixels of a tile, copied with zeros where they would leave the map.
func gradTile(y *image, n, i, j int, buf []float32) grid {
	if i+4 <= y.h && j+4 <= y.w {
		return grid{y.data, y.at(n, i, j), (y.w + 2*y.halo) * y.c, y.c}
	}
	for a := range 4 {
		for b := range 4 {
			to := buf[(a*4+b)*y.c:][:y.c]
			if i+a >= y.h || j+b >= y.w {
				clear(to)
			} else {
				copy(to, y.data[y.at(n, i+a, j+b):])
			}
		}
	}
	return grid{buf, 0, 4 * y.c, y.c}
}
