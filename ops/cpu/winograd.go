package cpu

// winograd is a 3×3 or 5×5 convolution of stride one, padded to keep its size, as 36 matrix products over tiles of 4×4 or 2×2
// output pixels: 2.25 multiplications for nine, or nine for 25. Its rounding differs from the direct sum's by some 1e-5 of the
// largest value (BENCHMARKS.md), so that Options.Direct leaves it out.
type winograd struct {
	*algorithm
	ic, oc int
	block  int // tiles at a time; 0 is as many as fit
}

// points is how many products there are: 6×6.
const points = 36

// winoCache is how many bytes the data of one block of tiles may take in the second-level cache.
const winoCache = 400 << 10

// winoKept is how many bytes of transformed weights are kept whole; more are transformed a piece at a time, where they are used. So
// are more than winoNear, which no second-level cache holds, if no piece is then transformed twice.
const (
	winoKept = 12 << 20
	winoNear = 1 << 20
)

// newWinograd is nil where the transforms cost more than the multiplications they save, by the rates measured in BENCHMARKS.md.
func newWinograd(kernel, n, h, w, ic, oc int) *winograd {
	g := &winograd{ic: ic, oc: oc}
	switch kernel {
	case 3:
		g.algorithm = &wino3
	case 5:
		g.algorithm = &wino5
	default:
		return nil
	}
	if ic%8 != 0 || oc%8 != 0 {
		return nil
	}
	const flops, stream = 100e9, 25e9 // multiply-add operations and transformed bytes a second, of one core
	tiles := float64(g.tiles(n, h, w))
	channels := float64(ic) * float64(oc)
	direct := 2 * float64(kernel*kernel) * channels * float64(n*h*w) / flops
	products := 2 * points * channels * tiles / flops
	transforms := 4 * points * (channels + tiles*float64(ic+oc)) / stream
	if products+transforms > 0.85*direct {
		return nil
	}
	return g
}

// back is the convolution that gives the gradient of the input.
func (g *winograd) back() *winograd {
	return &winograd{algorithm: g.algorithm, ic: g.oc, oc: g.ic, block: g.block}
}

// across is how many tiles cover n pixels.
func (g *winograd) across(n int) int { return (n + g.m - 1) / g.m }

// tiles is how many tiles n maps of h×w have.
func (g *winograd) tiles(n, h, w int) int { return n * g.across(h) * g.across(w) }

// place splits a tile's number into image, row and column of its first output pixel.
func (g *winograd) place(t, h, w int) (n, i, j int) {
	th, tw := g.across(h), g.across(w)
	return t / (th * tw), t / tw % th * g.m, t % tw * g.m
}

// spread keeps rows that are a power of two apart out of one set of the cache.
const spread = 16

// tmp is room for one tile of one vector.
func (s *scratch) points() []float32 { return grow32(&s.tmp, points*16) }

// patch is the size×size pixels from (i,j) on, copied with zeros where they would leave the halo.
func (x *image) patch(n, i, j, size, halo int, buf []float32) grid {
	if i+size <= x.h+halo && j+size <= x.w+halo {
		return grid{x.data, x.at(n, i, j), (x.w + 2*x.halo) * x.c, x.c}
	}
	for a := range size {
		for b := range size {
			to := buf[(a*size+b)*x.c:][:x.c]
			if i+a >= x.h || j+b >= x.w {
				clear(to)
			} else {
				copy(to, x.data[x.at(n, i+a, j+b):])
			}
		}
	}
	return grid{buf, 0, size * x.c, x.c}
}

// tileSet is transformed tiles [piece of depth channels][36][pitch][row].
type tileSet struct {
	data              []float32
	pitch, row, depth int
}

// newTiles is room in memory for pitch tiles of c channels in pieces of depth.
func newTiles(memory *[]float32, pitch, c, depth int) tileSet {
	row := depth + spread
	return tileSet{grow32(memory, (c+depth-1)/depth*points*pitch*row+slack), pitch, row, depth}
}

// at is where channel c, the first one of a piece, of tile t of a point begins.
func (v *tileSet) at(c, point, t int) int { return ((c/v.depth*points+point)*v.pitch + t) * v.row }

// transformInput fills tile slots from on with tiles [t0,t1).
func (g *winograd) transformInput(d *Device, sc *scratch, x *image, v tileSet, from, t0, t1, h, w int) {
	edge, tmp := grow32(&sc.edge, points*x.c+slack), sc.points()
	pad := g.kernel / 2
	for t := t0; t < t1; t++ {
		b, i, j := g.place(t, h, w)
		src := x.patch(b, i-pad, j-pad, 6, x.halo, edge)
		for c := 0; c < x.c; c += v.depth {
			to := grid{v.data, v.at(c, 0, from+t-t0), 6 * v.pitch * v.row, v.pitch * v.row}
			g.input.apply(&d.isa, to, src.channel(c), min(v.depth, x.c-c), tmp)
		}
	}
}

// transformWeights fills u [36][rows][width] with rows [i0,i1) of panel j of the weights w [panel][taps·IC][width].
func (g *winograd) transformWeights(d *Device, sc *scratch, w, u []float32, j, i0, i1 int) {
	nr, width, tmp := d.isa.nr, d.isa.width(j, g.oc), sc.points()
	rows := i1 - i0
	for i := range rows {
		src := grid{w, j*g.kernel*g.kernel*g.ic*nr + (i0+i)*width, g.kernel * g.ic * width, g.ic * width}
		g.weight.apply(&d.isa, grid{u, i * width, 6 * rows * width, rows * width}, src, width, tmp)
	}
}

// convolve writes, or adds, the convolution of n maps x, whose halo is at least half the kernel, with weights
// w [panel of OC][taps·IC][width].
func (g *winograd) convolve(d *Device, w []float32, x, y *image, n int, add bool) {
	np := d.isa.panels(g.oc)
	total := g.tiles(n, y.h, y.w)
	row := g.ic + spread
	size := points * g.ic * d.isa.nr // of a panel's transformed weights
	if u := 4 * np * size; u > winoKept || u > winoNear && total <= streamTiles {
		g.streamed(d, w, x, y, n, add)
		return
	}
	u := grow32(&d.winoU, np*size+slack)
	run(d, &d.jobs.winoWeights, np, winoWeights{g, w, u, size})
	block := g.block
	if block == 0 { // whole rows of tiles, as many as the cache holds
		tw := g.across(y.w)
		block = max(1, winoCache/(4*points*(row+d.isa.nr))/tw) * tw
	}
	blocks := (total + block - 1) / block
	run(d, &d.jobs.winoBlocks, blocks, winoBlocks{g, u, *x, *y, size, total, blocks, add})
}

// winoWeights transforms the weights of one panel, size floats each.
type winoWeights struct {
	*winograd
	w, u []float32
	size int
}

func (g *winoWeights) do(d *Device, sc *scratch, j int) {
	g.transformWeights(d, sc, g.w, g.u[j*g.size:], j, 0, g.ic)
}

// winoBlocks does one block of tiles with transformed weights.
type winoBlocks struct {
	*winograd
	u                   []float32
	x, y                image
	size, total, blocks int
	add                 bool
}

func (g *winoBlocks) do(d *Device, sc *scratch, k int) {
	t0, t1 := span(g.total, g.blocks, k)
	v := newTiles(&sc.v, t1-t0, g.ic, g.ic)
	g.transformInput(d, sc, &g.x, v, 0, t0, t1, g.y.h, g.y.w)
	for j := range d.isa.panels(g.oc) {
		m := g.sums(d, sc, t1-t0, j)
		u := g.u[j*g.size:]
		g.products(d, sc, v, m, u, 0, 0, g.ic, false)
		g.put(d, sc, m, &g.y, j, t0, t1, g.add)
	}
}

// streamed is convolve for many weights and few tiles: a worker transforms the weights of a panel a piece at a time and uses a piece
// while its own second-level cache has it.
func (g *winograd) streamed(d *Device, w []float32, x, y *image, n int, add bool) {
	total := g.tiles(n, y.h, y.w)
	groups := (total + streamTiles - 1) / streamTiles
	depth := streamBytes/(4*points*d.isa.nr) - (total+groups-1)/groups
	v := newTiles(&d.winoV, total, g.ic, min(g.ic, max(32, depth/16*16)))
	chunks := pieces(total, 4, 64)
	run(d, &d.jobs.winoInputs, chunks, winoInputs{g, *x, v, chunks, y.h, y.w})
	run(d, &d.jobs.winoPanels, d.isa.panels(g.oc)*groups, winoPanels{g, w, v, *y, groups, add})
}

// Of streamed: how many tiles a piece of weights is used for at most, and how many bytes of the second-level cache those weights and
// the sums of those tiles take.
const (
	streamTiles = 128
	streamBytes = 900 << 10
)

// winoInputs transforms a share of all tiles of x.
type winoInputs struct {
	*winograd
	x            image
	v            tileSet
	chunks, h, w int
}

func (g *winoInputs) do(d *Device, sc *scratch, k int) {
	t0, t1 := span(g.v.pitch, g.chunks, k)
	g.transformInput(d, sc, &g.x, g.v, t0, t0, t1, g.h, g.w)
}

// winoPanels does one panel of output channels of one group of tiles, tiles being transformed.
type winoPanels struct {
	*winograd
	w      []float32
	v      tileSet
	y      image
	groups int
	add    bool
}

func (g *winoPanels) do(d *Device, sc *scratch, k int) {
	j := k / g.groups
	t0, t1 := span(g.v.pitch, g.groups, k%g.groups)
	m := g.sums(d, sc, t1-t0, j)
	for i0 := 0; i0 < g.ic; i0 += g.v.depth {
		i1 := min(g.ic, i0+g.v.depth)
		u := grow32(&sc.v, points*(i1-i0)*m.row+slack)
		g.transformWeights(d, sc, g.w, u, j, i0, i1)
		g.products(d, sc, g.v, m, u, t0, i0, i1, true)
	}
	g.put(d, sc, m, &g.y, j, t0, t1, g.add)
}

// sums is room for the products of panel j, [36][tile][width].
func (g *winograd) sums(d *Device, sc *scratch, tiles, j int) tileSet {
	width := d.isa.width(j, g.oc)
	return tileSet{grow32(&sc.m, points*tiles*width+slack), tiles, width, width}
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
	cuts := (m.pitch + d.isa.mr - 1) / d.isa.mr
	for xi := range points {
		p.b = ptr(u, xi*depth*width)
		for c := range cuts {
			r0, r1 := span(m.pitch, cuts, c)
			at := v.at(i0, xi, from+r0)
			p.a, p.c = ptr(v.data, at), ptr(m.data, m.at(0, xi, r0))
			if far {
				p.fetch(addr(v.data, at+(r1-r0)*v.row))
			} else {
				p.fetch(addr(u, min(xi+1, points-1)*depth*width))
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
		src := grid{m.data, (t - t0) * m.row, 6 * m.pitch * m.row, m.pitch * m.row}
		if !add && i+g.m <= y.h && k+g.m <= y.w {
			g.output.apply(&d.isa, grid{y.data, y.at(b, i, k) + first, (y.w + 2*y.halo) * y.c, y.c}, src, c, tmp)
			continue
		}
		g.output.apply(&d.isa, grid{edge, 0, g.m * c, c}, src, c, tmp)
		for p := range min(g.m, y.h-i) {
			for q := range min(g.m, y.w-k) {
				to, from := y.data[y.at(b, i+p, k+q)+first:][:c], edge[(p*g.m+q)*c:]
				if !add {
					copy(to, from)
					continue
				}
				for e := range to {
					to[e] += from[e]
				}
			}
		}
	}
}

// winoGradBlock is how many tiles one product of the weights' gradient sums over.
const winoGradBlock = 112

// winoGrad is one computation of a weight's gradient.
type winoGrad struct {
	*winograd
	d             *Device
	x, dy         image
	total, blocks int // tiles, and blocks of them
}

// backWeight adds, or with fresh writes, the weights' gradient [panel of OC][taps·IC][width]: Gᵀ·(Σ_tiles Vᵀ·Y)·G.
func (g *winograd) backWeight(d *Device, dw []float32, x, dy *image, n int, fresh bool) {
	total := g.tiles(n, dy.h, dy.w)
	b := &d.winoGrad
	size := g.kernel * g.kernel * g.ic * d.isa.padded(g.oc)
	segments, blocks := inParts((total+winoGradBlock-1)/winoGradBlock, size)
	*b = winoGrad{g, d, *x, *dy, total, blocks}
	if segments > 1 {
		d.inSegments(dw, size, segments, fresh, b)
		return
	}
	for k := range b.blocks {
		block := b.block(&d.winoV, &d.winoY, k)
		run(d, &d.jobs.winoTiles, block.t1-block.t0, winoTiles{block})
		run(d, &d.jobs.winoPieces, b.pieces(), winoPieces{block, dw, fresh && k == 0})
	}
}

// winoBlock is one block of tiles of a gradient.
type winoBlock struct {
	*winoGrad
	v      tileSet
	y      []float32 // [panel of OC][36][tile][width]
	t0, t1 int
}

// block is block k, transformed into the given memory.
func (g *winoGrad) block(v, y *[]float32, k int) winoBlock {
	most := (g.total + g.blocks - 1) / g.blocks
	t0, t1 := span(g.total, g.blocks, k)
	grow32(v, points*most*(g.ic+spread)+slack)
	return winoBlock{g, newTiles(v, t1-t0, g.ic, g.ic), grow32(y, points*most*g.d.isa.panels(g.oc)*g.d.isa.nr+slack), t0, t1}
}

// segment writes the sum of a segment of blocks.
func (g *winoGrad) segment(sc *scratch, part []float32, segments, s int) {
	k0, k1 := span(g.blocks, segments, s)
	for k := k0; k < k1; k++ {
		b := g.block(&sc.v, &sc.y, k)
		for t := range b.t1 - b.t0 {
			b.transform(sc, t)
		}
		for p := range g.pieces() {
			b.piece(sc, part, p, k == k0)
		}
	}
}

// winoTiles transforms one tile of a block.
type winoTiles struct{ winoBlock }

func (b *winoTiles) do(_ *Device, sc *scratch, t int) { b.transform(sc, t) }

// winoPieces does one piece of a block's products.
type winoPieces struct {
	winoBlock
	dw    []float32
	fresh bool
}

func (b *winoPieces) do(_ *Device, sc *scratch, p int) { b.piece(sc, b.dw, p, b.fresh) }

// pieces is in how many pieces a gradient is computed.
func (g *winoGrad) pieces() int { return g.d.isa.panels(g.oc) * g.cuts(g.d) }

// cuts is in how many pieces the input channels of a weight's gradient are computed.
func (g *winograd) cuts(d *Device) int { return (g.ic + 2*d.isa.mr - 1) / (2 * d.isa.mr) }

// transform does tile t of the block: that of x, and those of dy of every panel.
func (b *winoBlock) transform(sc *scratch, t int) {
	g, d := b.winograd, b.d
	tb := b.t1 - b.t0
	g.transformInput(d, sc, &b.x, b.v, t, b.t0+t, b.t0+t+1, b.dy.h, b.dy.w)
	edge := grow32(&sc.edge, points*max(g.ic, g.oc)+slack)
	n, i, k := g.place(b.t0+t, b.dy.h, b.dy.w)
	src := b.dy.patch(n, i, k, g.m, 0, edge)
	for j := range d.isa.panels(g.oc) { // columns beyond the last channel are never stored
		width := d.isa.width(j, g.oc)
		to := grid{b.y, j*points*tb*d.isa.nr + t*width, 6 * tb * width, tb * width}
		g.grad.apply(&d.isa, to, src.channel(j*d.isa.nr), min(width, g.oc-j*d.isa.nr), sc.points())
	}
}

// piece adds, or writes, the block's part of a piece of input channels of a panel of dw.
func (b *winoBlock) piece(sc *scratch, dw []float32, k int, fresh bool) {
	g, d, mr, nr := b.winograd, b.d, b.d.isa.mr, b.d.isa.nr
	tb := b.t1 - b.t0
	cuts := g.cuts(d)
	j, c := k/cuts, k%cuts
	i0, i1 := span(g.ic, cuts, c)
	width := d.isa.width(j, g.oc)
	du := grow32(&sc.m, points*(i1-i0)*width+slack)
	p := &sc.args
	*p = gemmArgs{ki: tb, ko: 1, csa: uintptr(4 * b.v.row), rsa: 4, ldc: uintptr(4 * width)}
	rows := (i1 - i0 + mr - 1) / mr
	for xi := range points {
		p.b = ptr(b.y, j*points*tb*nr+xi*tb*width)
		p.fetch(addr(b.y, j*points*tb*nr+min(xi+1, points-1)*tb*width))
		for r := range rows {
			r0, r1 := span(i1-i0, rows, r)
			p.a = ptr(b.v.data, b.v.at(0, xi, 0)+i0+r0)
			p.c = ptr(du, (xi*(i1-i0)+r0)*width)
			d.isa.kernel(r1-r0, width)(p)
		}
	}
	back := &g.accum
	if fresh {
		back = &g.write
	}
	for i := range i1 - i0 {
		src := grid{du, i * width, 6 * (i1 - i0) * width, (i1 - i0) * width}
		dst := grid{dw, j*g.kernel*g.kernel*g.ic*nr + (i0+i)*width, g.kernel * g.ic * width, g.ic * width}
		back.apply(&d.isa, dst, src, min(width, g.oc-j*nr), sc.points())
	}
}
