package cpu

import (
	"math"

	"github.com/contraflow/contraflow/ops"
)

// stats are a batch norm's mean and 1/sqrt(var+eps) of every group, [groups][C], and the number of pixels behind each.
type stats struct {
	mean, istd []float32
	count      []int
}

// norm is one fused unit: out = act(bn(x) + res).
type norm struct {
	ops.Norm
	c                                     int
	gamma, beta, runMean, runVar, batches *tensorData // nil without affine or tracking
}

// groupOf is the samples of group g when n samples are cut into contiguous chunks of ceil(n/groups).
func groupOf(n, groups, g int) (from, to int) {
	per := (n + groups - 1) / groups
	return min(n, g*per), min(n, (g+1)*per)
}

// runs calls f for contiguous stretches of at most limit pixels of rows [r0,r1) (sample and row in one).
func runs(m *image, r0, r1, limit int, f func(at, pixels int)) {
	if m.halo == 0 {
		total := (r1 - r0) * m.w
		for p := 0; p < total; p += limit {
			f(r0*m.w*m.c+p*m.c, min(limit, total-p))
		}
		return
	}
	for r := r0; r < r1; r++ {
		at := m.at(r/m.h, r%m.h, 0)
		for p := 0; p < m.w; p += limit {
			f(at+p*m.c, min(limit, m.w-p))
		}
	}
}

// Sums are those of a run of pixels in float32, at most runPixels of them for the rounding, and at most runFloats values, since the
// kernels read them once for each block of channels: more than that leave the second-level cache meanwhile.
const (
	runPixels = 256
	runFloats = 32 << 10
)

// measure computes the statistics of every group of n samples: sums of runs of pixels in float32, shifted by the
// first pixel against cancellation, then added in float64 in a fixed order.
func (d *Device) measure(b *norm, x *image, n int, s *stats) {
	c := b.c
	for g := range b.Groups {
		from, to := groupOf(n, b.Groups, g)
		rows := (to - from) * x.h
		s.count[g] = rows * x.w
		if rows == 0 {
			continue
		}
		shift := x.data[x.at(from, 0, 0):][:c]
		n := pieces(rows*x.w*c, 1<<14, min(rows, 32))
		part := grow64(&d.sums, n*2*c)
		run(d, &d.jobs.normSums, n, normSums{*x, shift, part, from * x.h, rows, n})
		for k := 1; k < n; k++ {
			for i := range 2 * c {
				part[i] += part[k*2*c+i]
			}
		}
		m := float64(s.count[g])
		for i := range c {
			mean := part[i] / m
			variance := max(part[c+i]/m-mean*mean, 0)
			mean += float64(shift[i])
			s.mean[g*c+i] = float32(mean)
			s.istd[g*c+i] = float32(1 / math.Sqrt(variance+b.Eps))
			if g == 0 && b.runMean != nil {
				unbiased := variance * m / max(m-1, 1)
				b.runMean.value[i] = float32((1-b.Momentum)*float64(b.runMean.value[i]) + b.Momentum*mean)
				b.runVar.value[i] = float32((1-b.Momentum)*float64(b.runVar.value[i]) + b.Momentum*unbiased)
			}
		}
	}
	if b.batches != nil {
		b.batches.value[0]++
	}
}

// normSums are the sums of a share of rows from row first on.
type normSums struct {
	x                   image
	shift               []float32
	part                []float64 // [chunk][2][C]
	first, rows, chunks int
}

func (j *normSums) do(d *Device, sc *scratch, k int) {
	c := j.x.c
	r0, r1 := span(j.rows, j.chunks, k)
	sum, sq := j.part[k*2*c:][:c], j.part[k*2*c+c:][:c]
	clear(sum)
	clear(sq)
	buf := sc.lane(2 * c)
	limit := max(16, min(runPixels, runFloats/c)) // of fewer, what is added in float64 costs more than the cache saves
	runs(&j.x, j.first+r0, j.first+r1, limit, func(at, pixels int) {
		d.sumPixels(buf[:c], buf[c:], j.x.data[at:], j.shift, pixels, c)
		for i := range c {
			sum[i] += float64(buf[i])
			sq[i] += float64(buf[c+i])
		}
	})
}

// running fills s with the running statistics, the same for every group.
func (b *norm) running(s *stats) {
	for g := range b.Groups {
		copy(s.mean[g*b.c:][:b.c], b.runMean.value)
		for i, v := range b.runVar.value[:b.c] {
			s.istd[g*b.c+i] = float32(1 / math.Sqrt(float64(v)+b.Eps))
		}
	}
}

// relu is where an activation let its input through: one bit a value, rows of bytes for each row of a map. Empty without
// an activation, or when nobody will ask.
type relu struct {
	bits []byte
	line int // bytes of a row
}

// maskLine is the bytes of a row.
func maskLine(s ops.Shape) int { return s.W * maskBytes(s.C) }

// row is row r, sample and row in one.
func (m relu) row(r int) []byte {
	if m.bits == nil {
		return nil
	}
	return m.bits[r*m.line:][:m.line]
}

// normalise writes out = act(γ·(x-mean)·istd + β + res) for n samples, and where it is positive; res may be nil.
func (d *Device) normalise(b *norm, out, x, res *image, mask relu, n int, s *stats) {
	c := b.c
	low := float32(math.Inf(-1))
	if b.ReLU {
		low = 0
	}
	coef := grow32(&d.coef, 3*c*b.Groups)
	for g := range b.Groups {
		co := coef[g*3*c:]
		for i := range c {
			gamma, beta := float32(1), float32(0)
			if b.gamma != nil {
				gamma, beta = b.gamma.value[i], b.beta.value[i]
			}
			co[i], co[c+i], co[2*c+i] = s.mean[g*c+i], float32(float64(gamma)*float64(s.istd[g*c+i])), beta
		}
	}
	rows := n * x.h
	chunks := pieces(rows*x.w*c, 1<<14, min(rows, 128))
	j := normApply{out: *out, x: *x, coef: coef, mask: mask, low: low, per: max((n+b.Groups-1)/b.Groups, 1), rows: rows, chunks: chunks}
	if res != nil {
		j.res, j.both = *res, true
	}
	run(d, &d.jobs.normApply, chunks, j)
}

// normApply is normalise for a share of rows.
type normApply struct {
	out, x, res  image
	both         bool // there is a res
	coef         []float32
	mask         relu
	low          float32
	per          int // samples of a group
	rows, chunks int
}

func (j *normApply) do(d *Device, _ *scratch, k int) {
	c := j.x.c
	r0, r1 := span(j.rows, j.chunks, k)
	for r := r0; r < r1; r++ {
		b, h := r/j.x.h, r%j.x.h
		var side []float32
		if j.both {
			side = j.res.row(b, h)
		}
		d.applyPixels(j.out.row(b, h), j.x.row(b, h), side, j.coef[b/j.per*3*c:][:3*c], j.mask.row(r), j.low)
	}
}

// back is the gradient of normalise: from dout it writes, or adds, dx (through the statistics when they were the
// batch's) and dres, and adds to the gradients of γ and β.
func (d *Device) back(b *norm, dx, dres, dout *image, mask relu, x *image, n int, s *stats, addRes bool) {
	c := b.c
	if b.gamma != nil {
		b.gamma.settle()
		b.beta.settle()
	}
	coef := grow32(&d.coef, 4*c*b.Groups)
	for g := range b.Groups {
		from, to := groupOf(n, b.Groups, g)
		rows := (to - from) * x.h
		if rows == 0 {
			continue
		}
		mean, istd := s.mean[g*c:][:c], s.istd[g*c:][:c]
		k := pieces(rows*x.w*c, 1<<14, min(rows, 32))
		part := grow64(&d.sums, k*2*c)
		run(d, &d.jobs.normBackSums, k, normBackSums{*dout, *x, mask, mean, part, from * x.h, rows, k})
		for i := 1; i < k; i++ {
			for j := range 2 * c {
				part[j] += part[i*2*c+j]
			}
		}
		m := float64(rows * x.w)
		for i := range c {
			gamma := 1.0
			sum, dot, inv := part[i], part[c+i], float64(istd[i])
			if b.gamma != nil {
				gamma = float64(b.gamma.value[i])
				b.gamma.grad[i] += float32(dot * inv)
				b.beta.grad[i] += float32(sum)
			}
			a := gamma * inv
			co := coef[g*4*c:]
			co[i], co[c+i], co[2*c+i], co[3*c+i] = float32(a), 0, 0, mean[i]
			if b.Batch {
				co[c+i], co[2*c+i] = float32(sum/m), float32(-a*dot/m*inv*inv)
			}
		}
	}
	rows := n * x.h
	chunks := pieces(rows*x.w*c, 1<<14, min(rows, 128))
	j := normBack{dx: *dx, dout: *dout, x: *x, coef: coef, mask: mask, add: addRes, per: max((n+b.Groups-1)/b.Groups, 1), rows: rows, chunks: chunks}
	if dres != nil {
		j.dres, j.both = *dres, true
	}
	run(d, &d.jobs.normBack, chunks, j)
}

// normBackSums are the sums of the gradient over a share of rows from row first on.
type normBackSums struct {
	dout, x             image
	mask                relu
	mean                []float32
	part                []float64 // [chunk][2][C]
	first, rows, chunks int
}

func (j *normBackSums) do(d *Device, sc *scratch, k int) {
	c, x := j.x.c, &j.x
	r0, r1 := span(j.rows, j.chunks, k)
	sum := j.part[k*2*c:][:2*c]
	clear(sum)
	buf := sc.lane(2 * c)
	for r := j.first + r0; r < j.first+r1; r++ {
		d.backSumPixels(buf[:c], buf[c:], j.dout.row(r/x.h, r%x.h), j.mask.row(r), x.row(r/x.h, r%x.h), j.mean)
		for i, v := range buf[:2*c] {
			sum[i] += float64(v)
		}
	}
}

// normBack is the gradient of a share of rows.
type normBack struct {
	dx, dres, dout, x image
	both, add         bool // there is a dres; it is added to
	coef              []float32
	mask              relu
	per               int // samples of a group
	rows, chunks      int
}

func (j *normBack) do(d *Device, _ *scratch, k int) {
	c := j.x.c
	r0, r1 := span(j.rows, j.chunks, k)
	for r := r0; r < r1; r++ {
		b, h := r/j.x.h, r%j.x.h
		var side []float32
		if j.both {
			side = j.dres.row(b, h)
		}
		d.backPixels(j.dx.row(b, h), side, j.dout.row(b, h), j.mask.row(r), j.x.row(b, h), j.coef[b/j.per*4*c:][:4*c], j.add)
	}
}
