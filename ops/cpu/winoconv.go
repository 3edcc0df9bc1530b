package cpu

// winoCache is how many bytes the data of one block of tiles may take in the second-level cache.
const winoCache = 400 << 10

// winoKept is how many bytes of transformed weights are kept whole; more are transformed a piece at a time, where they are used. So
// are more than winoNear, which no second-level cache holds, if no piece is then transformed twice.
const (
	winoKept = 12 << 20
	winoNear = 1 << 20
)

// ownCopies is up to how many workers transform for themselves what all of them need. For few, to do it once more costs less than to
// write where another core has read and to read what it wrote.
const ownCopies = 2

// convolve writes, or adds, the convolution of n maps x, whose halo is at least half the kernel, with weights [panel of
// OC][taps·IC][width]: w's, or w's turned.
func (g *winograd) convolve(d *Device, w turn, x, y *image, n int, add bool) {
	np := d.isa.panels(g.oc)
	total := g.tiles(n, y.h, y.w)
	row := g.ic + spread
	size := points * apart(g.ic*d.isa.nr) // of a panel's transformed weights
	d.copies++
	if u := 4 * np * size; u > winoKept || u > winoNear && total <= streamTiles {
		g.streamed(d, w, x, y, n, add)
		return
	}
	var u []float32
	if d.pool.threads > ownCopies {
		u = grow32(&d.winoU, np*size+slack)
		run(d, &d.jobs.winoWeights, np, winoWeights{g, w, u, size})
	}
	block := g.block
	if block == 0 { // whole rows of tiles, as many as the cache holds
		tw := g.across(y.w)
		block = max(1, winoCache/(4*points*(row+d.isa.nr))/tw) * tw
	}
	blocks := (total + block - 1) / block
	runAlong(d, &d.jobs.winoBlocks, blocks, winoBlocks{winoWeights{g, w, u, size}, *x, *y, total, blocks, add})
}

// copied is a worker's own copy of what all of them need, and of which convolution.
type copied struct {
	data []float32
	of   uint64
}

// take is room for n floats, and whether it already holds what convolution number of needs.
func (c *copied) take(n int, of uint64) (data []float32, done bool) {
	done, c.of = c.of == of, of
	return grow32(&c.data, n), done
}

// winoWeights transforms the weights of one panel, size floats each.
type winoWeights struct {
	*winograd
	w    turn
	u    []float32
	size int
}

func (g *winoWeights) do(d *Device, sc *scratch, j int) {
	g.transformWeights(d, sc, &g.w, g.u[j*g.size:], j, 0, g.ic)
}

// own is all weights as the worker has transformed them for itself.
func (g *winoWeights) own(d *Device, sc *scratch) []float32 {
	np := d.isa.panels(g.oc)
	u, done := sc.own.take(np*g.size+slack, d.copies)
	for j := 0; !done && j < np; j++ {
		g.transformWeights(d, sc, &g.w, u[j*g.size:], j, 0, g.ic)
	}
	return u
}

// winoBlocks does one block of tiles with the transformed weights u or, if that is nil, the worker's own.
type winoBlocks struct {
	winoWeights
	x, y          image
	total, blocks int
	add           bool
}

func (g *winoBlocks) do(d *Device, sc *scratch, k int) {
	u := g.u
	if u == nil {
		u = g.own(d, sc)
	}
	t0, t1 := span(g.total, g.blocks, k)
	v := newTiles(&sc.v, t1-t0, 0, g.ic, g.ic)
	g.transformInput(d, sc, &g.x, v, 0, t0, t1, g.y.h, g.y.w)
	for j := range d.isa.panels(g.oc) {
		m := g.sums(d, sc, t1-t0, j)
		g.products(d, sc, v, m, u[j*g.size:], 0, 0, g.ic, false)
		g.put(d, sc, m, &g.y, j, t0, t1, g.add)
	}
}

// Of streamed: how many tiles a piece of weights is used for at most, and how many bytes of the second-level cache those weights and
// the sums of those tiles take.
const (
	streamTiles = 128
	streamBytes = 900 << 10
)

// streamed is convolve for many weights and few tiles: a worker transforms the weights of a panel a piece at a time and uses a piece
// while its own second-level cache has it.
func (g *winograd) streamed(d *Device, w turn, x, y *image, n int, add bool) {
	total := g.tiles(n, y.h, y.w)
	groups := (total + streamTiles - 1) / streamTiles
	nr := d.isa.nr
	depth := streamBytes/(4*points*nr) - (total+groups-1)/groups
	j := winoPanels{winoInputs: winoInputs{g, *x, tileSet{}, total, 1, y.h, y.w}, w: w, y: *y, depth: min(g.ic, max(nr, depth/nr*nr)), groups: groups, add: add}
	if d.pool.threads > ownCopies {
		j.v = newTiles(&d.winoV, total, 0, g.ic, j.depth)
		j.chunks = pieces(total, 4, 64)
		run(d, &d.jobs.winoInputs, j.chunks, j.winoInputs)
	}
	runAlong(d, &d.jobs.winoPanels, d.isa.panels(g.oc)*groups, j)
}

// winoInputs transforms a share of all tiles of x.
type winoInputs struct {
	*winograd
	x             image
	v             tileSet
	total, chunks int
	h, w          int
}

func (g *winoInputs) do(d *Device, sc *scratch, k int) {
	t0, t1 := span(g.total, g.chunks, k)
	g.transformInput(d, sc, &g.x, g.v, t0, t0, t1, g.h, g.w)
}

// winoPanels does one panel of output channels of one group of tiles, with the transformed tiles v or, if there are none, the
// worker's own.
type winoPanels struct {
	winoInputs
	w             turn
	y             image
	depth, groups int
	add           bool
}

func (g *winoPanels) do(d *Device, sc *scratch, k int) {
	v := g.v
	if v.data == nil {
		v = newTiles(&sc.own.data, g.total, 0, g.ic, g.depth)
		if _, done := sc.own.take(len(v.data), d.copies); !done {
			g.transformInput(d, sc, &g.x, v, 0, 0, g.total, g.y.h, g.y.w)
		}
	}
	j := k / g.groups
	t0, t1 := span(g.total, g.groups, k%g.groups)
	m := g.sums(d, sc, t1-t0, j)
	for i0 := 0; i0 < g.ic; i0 += g.depth {
		i1 := min(g.ic, i0+g.depth)
		u := grow32(&sc.v, points*apart((i1-i0)*m.row)+slack)
		g.transformWeights(d, sc, &g.w, u, j, i0, i1)
		g.products(d, sc, v, m, u, t0, i0, i1, true)
	}
	g.put(d, sc, m, &g.y, j, t0, t1, g.add)
}

// sums is room for the products of panel j, [36, apart][tile][width].
func (g *winograd) sums(d *Device, sc *scratch, tiles, j int) tileSet {
	width := d.isa.width(j, g.oc)
	point := apart(tiles * width)
	return tileSet{grow32(&sc.m, points*point+slack), 0, width, width, width, tiles, point}
}

// products are the 36 products of a panel over input channels [i0,i1), m = or, from the second piece on, += V·U, V's tiles
// beginning at from. Meanwhile the next tiles come in, which lie farther away than U, or the next part of U.
func (g *winograd) products(d *Device, sc *scratch, v, m tileSet, u []float32, from, i0, i1 int, far bool) {
	depth, width := i1-i0, m.row
	p := &sc.args
	*p = gemmArgs{ki: depth, ko: 1, rsa: uintptr(4 * v.row), csa: 4, ldc: uintptr(4 * m.row)}
	if i0 > 0 {
		p.acc = 1
	}
	cuts, apart := (m.tiles+d.isa.mr-1)/d.isa.mr, apart(depth*width)
	for xi := range points {
		p.b = ptr(u, xi*apart)
		for c := range cuts {
			r0, r1 := span(m.tiles, cuts, c)
			at := v.at(i0, xi, from+r0)
			p.a, p.c = ptr(v.data, at), ptr(m.data, m.at(0, xi, r0))
			if far {
				p.fetch(addr(v.data, at+(r1-r0)*v.row))
			} else {
				p.fetch(addr(u, min(xi+1, points-1)*apart))
			}
			d.isa.kernel(r1-r0, width)(p)
		}
	}
}

// put turns the products of panel j back into the pixels of tiles [t0,t1).
func (g *winograd) put(d *Device, sc *scratch, m tileSet, y *image, j, t0, t1 int, add bool) {
	first := j * d.isa.nr
	c := min(m.row, y.c-first)
	edge, tmp := grow32(&sc.edge, points*max(c, g.ic)+slack), sc.points()
	for t := t0; t < t1; t++ {
		b, i, k := g.place(t, y.h, y.w)
		src := &grid{m.data, (t - t0) * m.row, 6 * m.point, m.point}
		if !add && i+g.m <= y.h && k+g.m <= y.w {
			g.output.apply(&d.isa, &grid{y.data, y.at(b, i, k) + first, (y.w + 2*y.halo) * y.c, y.c}, src, c, tmp)
			continue
		}
		g.output.apply(&d.isa, &grid{edge, 0, g.m * c, c}, src, c, tmp)
		for p := range min(g.m, y.h-i) {
			for q := range min(g.m, y.w-k) {
				to, from := y.data[y.at(b, i+p, k+q)+first:][:c], edge[(p*g.m+q)*c:][:c]
				if add {
					d.addTo(to, from)
				} else {
					copy(to, from)
				}
			}
		}
	}
}
