package cpu

import (
	"time"

	"github.com/contraflow/contraflow/ops"
)

// settling is how long a peak is looked for: a core that has just woken takes a while to reach its clock, and the system to spread
// threads over cores.
const settling = time.Second

// Peak measures what the device's threads can do at best: multiply-adds on data in the first-level cache, in
// floating-point operations a second, and reads of memory that no cache holds, in bytes a second. With BF16 the operations are those of
// bfloat16.
func (d *Device) Peak() (flops, bandwidth float64) {
	k := d.isa
	kernel, each := k.gemm[k.mr], 2.0
	if d.pairs {
		kernel, each = k.pairs[k.mr], 4
	}
	const depth, rounds = 128, 20000
	type bench struct{ a, b, c []float32 }
	work := make([]bench, d.pool.threads)
	for w := range work {
		work[w] = bench{aligned(k.mr * depth), aligned(depth * k.nr), aligned(k.mr * k.nr)}
	}
	best := time.Duration(1 << 62)
	for begin := time.Now(); time.Since(begin) < settling; {
		t := time.Now()
		d.pool.run(d.pool.threads, func(_, c int) {
			b := &work[c]
			p := gemmArgs{ki: depth, ko: 1, a: ptr(b.a, 0), rsa: depth * 4, csa: 4, b: ptr(b.b, 0), c: ptr(b.c, 0), ldc: uintptr(k.nr * 4), pf: addr(b.a, 0), pair: 64, hop: 128}
			for range rounds {
				kernel(&p)
			}
		})
		best = min(best, time.Since(t))
	}
	flops = float64(d.pool.threads) * rounds * each * depth * float64(k.mr*k.nr) / best.Seconds()

	const n, c, parts = 32 << 20, 64, 64 // floats: 128 MiB; channels of a pixel, so few that its lines lie in the order they are read in
	x := aligned(n)
	for i := range x {
		x[i] = 1
	}
	zero, sums := aligned(c), make([][]float32, parts)
	for i := range sums {
		sums[i] = aligned(2 * c)
	}
	best = 1 << 62
	for begin := time.Now(); time.Since(begin) < settling; {
		t := time.Now()
		d.pool.run(parts, func(_, k int) {
			r0, r1 := span(n/c, parts, k)
			d.sumPixels(sums[k][:c], sums[k][c:], x[r0*c:], zero, r1-r0, c)
		})
		best = min(best, time.Since(t))
	}
	return flops, 4 * n / best.Seconds()
}

// ConvTime is how long the three passes of one convolution take, without converting layouts; the smallest of several runs.
type ConvTime struct {
	Forward, Data, Weight time.Duration
	FLOPs                 float64 // of one pass, counted directly
}

// TimeConv measures a convolution of a batch, weight packing included, as a training step does it. direct leaves Winograd out.
func (d *Device) TimeConv(in ops.Shape, c ops.ConvOptions, batch, runs int, direct bool) (ConvTime, error) {
	g := ops.NewGraph(in)
	x := g.Input()
	g.Conv(x, "conv", c)
	if err := g.Err(); err != nil {
		return ConvTime{}, err
	}
	p, err := d.NewParams(g)
	if err != nil {
		return ConvTime{}, err
	}
	compiled, err := d.Compile(g, p, ops.Options{Batch: batch, Train: true, InputGrad: true, Direct: direct})
	if err != nil {
		return ConvTime{}, err
	}
	pr := compiled.(*program)
	t := pr.take()
	s := &pr.steps[0]
	out := ConvTime{FLOPs: pr.FLOPs[0], Forward: 1 << 62, Data: 1 << 62, Weight: 1 << 62}
	fill(t.maps[s.In[0]].data)
	fill(pr.grads[s.Out].data)
	for range runs {
		pr.p.version++
		begin := time.Now()
		pr.forward(s, t, batch)
		a := time.Now()
		pr.backWeights(s, &t.maps[s.In[0]], pr.grads[s.Out], batch)
		d.sumUp()
		b := time.Now()
		pr.has[s.In[0]] = false
		pr.backInput(s, pr.grads[s.Out], batch)
		c := time.Now()
		out.Forward, out.Weight, out.Data = min(out.Forward, a.Sub(begin)), min(out.Weight, b.Sub(a)), min(out.Data, c.Sub(b))
	}
	return out, nil
}

// fill writes numbers that are neither zero nor denormal.
func fill(x []float32) {
	for i := range x {
		x[i] = float32(i%61)/61 - 0.5
	}
}
