package cpu

// winoGradBlock is how many tiles one product of the weights' gradient sums over.
const winoGradBlock = 112

// winoGrad is one computation of a weight's gradient.
type winoGrad struct {
	*winograd
	d             *Device
	x, dy         image
	total, blocks int // tiles, and blocks of them
	ics, ocs      int // into how many parts input channels and panels of output channels are cut
}

// backWeight adds, or with fresh writes, the weights' gradient [panel of OC][taps·IC][width]: Gᵀ·(Σ_tiles Vᵀ·Y)·G.
func (g *winograd) backWeight(d *Device, dw []float32, x, dy *image, n int, fresh bool) {
	total := g.tiles(n, dy.h, dy.w)
	b := &d.winoGrad
	size := g.kernel * g.kernel * g.ic * d.isa.padded(g.oc)
	segments, blocks := inParts((total+winoGradBlock-1)/winoGradBlock, size)
	*b = winoGrad{g, d, *x, *dy, total, blocks, 1, 1}
	if segments > 1 {
		d.inSegments(dw, size, segments, fresh, b)
		return
	}
	b.cut(d.pool.threads)
	postpone(d, &d.jobs.winoParts, b.ics*b.ocs, winoParts{b, dw, fresh})
}

// grain is of how many input channels a part is a multiple.
const grain = 16

// cut chooses the parts, one a worker: each transforms what it needs for itself, the less the squarer it is.
func (g *winoGrad) cut(workers int) {
	units, panels := (g.ic+grain-1)/grain, g.d.isa.panels(g.oc)
	least := 0
	for ics := 1; ics <= min(workers, units); ics++ {
		ocs := min(workers/ics, panels)
		// What the largest part transforms, and how often that happens if there are fewer parts than workers.
		work := ((units+ics-1)/ics*grain + (panels+ocs-1)/ocs*g.d.isa.nr) * workers / (ics * ocs)
		if least == 0 || work < least {
			least, g.ics, g.ocs = work, ics, ocs
		}
	}
}

// segment writes the sum of a segment of blocks.
func (g *winoGrad) segment(sc *scratch, part []float32, segments, s int) {
	k0, k1 := span(g.blocks, segments, s)
	g.sum(sc, part, 0, k0, k1, true)
}

// winoParts does one part of the gradient.
type winoParts struct {
	*winoGrad
	dw    []float32
	fresh bool
}

func (g *winoParts) do(_ *Device, sc *scratch, p int) { g.sum(sc, g.dw, p, 0, g.blocks, g.fresh) }

// sum adds, or with fresh writes, the sum of blocks [k0,k1) of a part of dw.
func (g *winoGrad) sum(sc *scratch, dw []float32, part, k0, k1 int, fresh bool) {
	most := (g.total + g.blocks - 1) / g.blocks
	units := (g.ic + grain - 1) / grain
	c0, c1 := span(units, g.ics, part/g.ocs)
	c0, c1 = c0*grain, min(g.ic, c1*grain)
	j0, j1 := span(g.d.isa.panels(g.oc), g.ocs, part%g.ocs)
	newTiles(&sc.v, most, c0, c1, c1-c0) // room for the largest block at once
	y := grow32(&sc.y, (j1-j0)*points*apart(most*g.d.isa.nr)+slack)
	for k := k0; k < k1; k++ {
		t0, t1 := span(g.total, g.blocks, k)
		b := winoBlock{g, newTiles(&sc.v, t1-t0, c0, c1, c1-c0), y, t0, t1, j0, j1}
		g.transformInput(g.d, sc, &g.x, b.v, 0, t0, t1, g.dy.h, g.dy.w)
		b.transformGradient(sc)
		for j := j0; j < j1; j++ {
			b.products(sc, dw, j, fresh && k == k0)
		}
	}
}

// winoBlock is one block of tiles of a part of a gradient, transformed.
type winoBlock struct {
	*winoGrad
	v              tileSet
	y              []float32 // [panel of OC][36, apart][tile][width]
	t0, t1, j0, j1 int       // tiles, panels
}

// transformGradient does the tiles of dy.
func (b *winoBlock) transformGradient(sc *scratch) {
	g, d, tb := b.winograd, b.d, b.t1-b.t0
	edge, tmp, full := grow32(&sc.edge, points*max(g.ic, g.oc)+slack), sc.points(), apart(tb*d.isa.nr)
	for t := range tb {
		n, i, k := g.place(b.t0+t, b.dy.h, b.dy.w)
		src := b.dy.patch(n, i, k, g.m, 0, edge)
		for j := b.j0; j < b.j1; j++ { // columns beyond the last channel are never stored
			width := d.isa.width(j, g.oc)
			point := apart(tb * width)
			to := &grid{b.y, (j-b.j0)*points*full + t*width, 6 * point, point}
			g.grad.apply(&d.isa, to, src.channel(j*d.isa.nr), min(width, g.oc-j*d.isa.nr), tmp)
		}
	}
}

// products adds, or writes, the block's part of panel j of dw, of two tiles of input channels at a time.
func (b *winoBlock) products(sc *scratch, dw []float32, j int, fresh bool) {
	g, d, mr, nr := b.winograd, b.d, b.d.isa.mr, b.d.isa.nr
	tb, n := b.t1-b.t0, b.v.c1-b.v.c0
	tiles := (n + mr - 1) / mr
	width, tmp := d.isa.width(j, g.oc), sc.points()
	back := &g.accum
	if fresh {
		back = &g.write
	}
	p := &sc.args
	*p = gemmArgs{ki: tb, ko: 1, csa: uintptr(4 * b.v.row), rsa: 4, ldc: uintptr(4 * width)}
	y, point := b.y[(j-b.j0)*points*apart(tb*nr):], apart(tb*width)
	for tile := 0; tile < tiles; tile += 2 {
		next := min(tile+2, tiles)
		from, _ := span(n, tiles, tile)
		_, to := span(n, tiles, next-1)
		rows := to - from
		sum := apart(rows * width)
		du := grow32(&sc.m, points*sum+slack)
		for xi := range points {
			p.b = ptr(y, xi*point)
			p.fetch(addr(y, min(xi+1, points-1)*point))
			for r := tile; r < next; r++ {
				r0, r1 := span(n, tiles, r)
				p.a = ptr(b.v.data, b.v.at(b.v.c0, xi, 0)+r0)
				p.c = ptr(du, xi*sum+(r0-from)*width)
				d.isa.kernel(r1-r0, width)(p)
			}
		}
		for i := range rows {
			src := &grid{du, i * width, 6 * sum, sum}
			dst := &grid{dw, j*g.kernel*g.kernel*g.ic*nr + (b.v.c0+from+i)*width, g.kernel * g.ic * width, g.ic * width}
			back.apply(&d.isa, dst, src, min(width, g.oc-j*nr), tmp)
		}
	}
}
