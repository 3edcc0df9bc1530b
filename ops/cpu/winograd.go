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

// apart is how many floats from one another the 36 points of n floats are kept: an odd number of cache lines, so that what a transform
// writes at a time falls into as many sets of the first-level cache.
func apart(n int) int { return ((n+line-1)/line | 1) * line }

// tmp is room for one tile of one vector.
func (s *scratch) points() []float32 { return grow32(&s.tmp, points*16) }

// patch is the size×size pixels from (i,j) on, copied with zeros where they would leave the halo.
func (x *image) patch(n, i, j, size, halo int, buf []float32) grid {
	rows, cols := min(size, x.h+halo-i), min(size, x.w+halo-j)
	if rows == size && cols == size {
		return grid{x.data, x.at(n, i, j), (x.w + 2*x.halo) * x.c, x.c}
	}
	// What lies in the halo is zero.
	rows, cols = min(rows, x.h-i), min(cols, x.w-j)
	line := size * x.c
	for a := range rows {
		to := buf[a*line:][:line]
		clear(to[copy(to, x.data[x.at(n, i+a, j):][:cols*x.c]):])
	}
	clear(buf[rows*line : size*line])
	return grid{buf, 0, line, x.c}
}

// tileSet is transformed tiles of channels [c0,c1), [piece of depth channels][36][tiles][row].
type tileSet struct {
	data       []float32
	c0, c1     int
	row, depth int
	tiles      int // room
	point      int // floats from one point to the next
}

// newTiles is room in memory for tiles of channels [c0,c1) in pieces of depth.
func newTiles(memory *[]float32, tiles, c0, c1, depth int) tileSet {
	v := tileSet{c0: c0, c1: c1, row: depth + spread, depth: depth, tiles: tiles}
	v.point = apart(tiles * v.row)
	v.data = grow32(memory, (c1-c0+depth-1)/depth*points*v.point+slack)
	return v
}

// at is where channel c, the first one of a piece, of tile t of a point begins.
func (v *tileSet) at(c, point, t int) int {
	return ((c-v.c0)/v.depth*points+point)*v.point + t*v.row
}

// transformInput fills tile slots from on with tiles [t0,t1).
func (g *winograd) transformInput(d *Device, sc *scratch, x *image, v tileSet, from, t0, t1, h, w int) {
	edge, tmp := grow32(&sc.edge, points*x.c+slack), sc.points()
	pad := g.kernel / 2
	for t := t0; t < t1; t++ {
		b, i, j := g.place(t, h, w)
		src := x.patch(b, i-pad, j-pad, 6, x.halo, edge)
		for c := v.c0; c < v.c1; c += v.depth {
			to := &grid{v.data, v.at(c, 0, from+t-t0), 6 * v.point, v.point}
			g.input.apply(&d.isa, to, src.channel(c), min(v.depth, v.c1-c), tmp)
		}
	}
}

// transformWeights fills u [36, apart][rows][width] with rows [i0,i1), i0 a multiple of a panel's width, of panel j of the weights
// [panel][taps·IC][width]: w's, or w's turned.
func (g *winograd) transformWeights(d *Device, sc *scratch, w *turn, u []float32, j, i0, i1 int) {
	nr, width, taps, tmp := d.isa.nr, d.isa.width(j, g.oc), g.kernel*g.kernel, sc.points()
	point := apart((i1 - i0) * width)
	for from := i0; from < i1; {
		to, src := i1, &grid{w.w, j*taps*g.ic*nr + i0*width, g.kernel * g.ic * width, g.ic * width}
		if w.taps != nil {
			to = min(i1, from+nr)
			n := to - from
			packed := grow32(&sc.a, taps*n*width+slack)
			d.turnPanel(packed, w, g.oc, g.ic, j, 0, taps, from, to)
			src = &grid{packed, 0, g.kernel * n * width, n * width}
		}
		for i := range to - from {
			g.weight.apply(&d.isa, &grid{u, (from - i0 + i) * width, 6 * point, point}, src.channel(i*width), width, tmp)
		}
		from = to
	}
}
