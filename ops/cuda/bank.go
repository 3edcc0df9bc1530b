//go:build cuda

package cuda

import (
	"fmt"
	"sync"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda/driver"
)

// rows is a bank on the device.
type rows struct {
	d       *Device
	n, w    int
	at      cu.DevicePtr
	input   *slot   // queries, positives, ids, presence, index
	news    *slot   // of an update
	index   *buffer // drawn rows [B,K+1]
	work    *buffer // partial results, then results
	host    *pinned // results
	arrived cu.Event

	results sync.Mutex // over what follows, and over host
	running *scoring   // whose results are on their way, nil for none
}

// scoring is one Score.
type scoring struct {
	n     int
	mode  ops.LossMode
	out   ops.Scored
	grad  []float32 // what is to be added
	err   error
	begun chan struct{} // closed when it is on the stream, or has failed
}

var _ ops.Banker = (*Device)(nil)

// maxWidth is the longest row that a warp holds in registers.
const maxWidth = 256

// NewBank makes n rows of w values on the device.
func (d *Device) NewBank(n, w int) (ops.Bank, error) {
	if w > maxWidth {
		return nil, fmt.Errorf("cuda: a bank of rows of %d values: at most %d fit: lower --feat_dim", w, maxWidth)
	}
	r := &rows{d: d, n: n, w: w}
	return r, d.do(func() (err error) {
		own := newEstate(d, r)
		r.index, r.work = own.buffer(), own.buffer()
		if r.input, err = own.slot(256, "queries of a bank"); err != nil {
			return err
		}
		if r.news, err = own.slot(256, "new rows of a bank"); err != nil {
			return err
		}
		if r.arrived, err = own.event(); err != nil {
			return err
		}
		if r.host, err = own.pin(64); err != nil {
			return err
		}
		if r.at, err = own.alloc(int64(4*n*w), fmt.Sprintf("a bank of %d rows of %d values", n, w), "lower --nce_k or --feat_dim, or use --device cpu"); err != nil {
			return err
		}
		return cu.MemsetD8Async(r.at, 0, int64(4*n*w), d.compute)
	})
}

// Read implements ops.Bank.
func (r *rows) Read(dst []float32) error {
	if len(dst) != r.n*r.w {
		return fmt.Errorf("cuda: read %d values of a bank of %d×%d", len(dst), r.n, r.w)
	}
	return r.d.do(func() error {
		if err := r.d.compute.Synchronize(); err != nil {
			return err
		}
		return cu.MemcpyDtoH(unsafe.Pointer(&dst[0]), r.at, int64(4*len(dst)))
	})
}

// Write implements ops.Bank.
func (r *rows) Write(src []float32) error {
	if len(src) != r.n*r.w {
		return fmt.Errorf("cuda: write %d values into a bank of %d×%d", len(src), r.n, r.w)
	}
	return r.d.do(func() error { return r.d.put(r.at, src) })
}

// Put implements ops.Bank.
func (r *rows) Put(first int, src []float32) error {
	if len(src) == 0 {
		return nil
	}
	if first < 0 || first*r.w+len(src) > r.n*r.w {
		return fmt.Errorf("cuda: put %d rows from %d on into a bank of %d", len(src)/r.w, first, r.n)
	}
	r.d.post(func() error {
		p := &parcel{}
		values := p.add(asBytes(src))
		done, err := r.d.deliver(r.news, p, r.d.hand, "new rows of a bank")
		if err != nil {
			return err
		}
		put := r.d.span("update of rows")
		if err := cu.MemcpyDtoDAsync(at(r.at, int64(4*first*r.w)), partOf(r.news, values), int64(4*len(src)), r.d.compute); err != nil {
			return err
		}
		put()
		return done()
	})
	return nil
}

const contrastColumns, contrastThreads = 1024, 128 // as in bank.cu

// Score implements ops.Bank.
func (r *rows) Score(s ops.Scoring, grad []float32) func() (ops.Scored, error) {
	n := len(s.Queries) / r.w
	if len(grad) != len(s.Queries) {
		return func() (ops.Scored, error) {
			return ops.Scored{}, fmt.Errorf("cuda: gradient of %d values for queries of %d", len(grad), len(s.Queries))
		}
	}
	own := &scoring{n: n, mode: s.Mode, begun: make(chan struct{})}
	r.d.always(func(failed error) {
		defer close(own.begun)
		r.results.Lock()
		defer r.results.Unlock()
		if own.err = failed; failed != nil {
			return
		}
		r.collect(r.d.await) // a Score that nobody has waited for yet
		r.running = own
		own.err = r.d.explain(r.begin(s, n))
	})
	return func() (ops.Scored, error) {
		<-own.begun
		r.results.Lock()
		defer r.results.Unlock()
		if r.running == own {
			r.collect(r.d.meet)
		}
		for i, g := range own.grad {
			grad[i] += g
		}
		return own.out, own.err
	}
}

// begin puts a scoring of n queries on the stream, and the way of its results to the host.
func (r *rows) begin(s ops.Scoring, n int) error {
	d, p := r.d, &parcel{}
	queries, positives, index := p.add(asBytes(s.Queries)), p.add(asBytes(s.Positives)), p.add(intBytes(s.Index))
	ids, present := p.add(intBytes(s.IDs)), p.add(flags(s.Present))
	done, err := d.deliver(r.input, p, d.hand, "queries of a bank")
	if err != nil {
		return err
	}
	defer d.span("contrast")()
	sent := func(offset int64) cu.DevicePtr { return partOf(r.input, offset) }
	picked := sent(index)
	if ids >= 0 {
		if err := d.grow(r.index, int64(4*n*(s.K+1)), "the rows drawn for a batch"); err != nil {
			return err
		}
		picked = r.index.p
		if err := d.each("draw_rows", int64(n*s.K+63)/64+int64(n), 1, d.args().Ptr(picked).Ptr(sent(ids)).Int(n).Int(s.K).
			Long(int64(s.Seed)).Long(int64(s.Stream)).Long(int64(r.n))); err != nil {
			return err
		}
	}
	blocks := (s.K + contrastColumns) / contrastColumns
	outSize, partSize, statSize := resultSize(n)+int64(4*n*r.w), int64(4*n*blocks*r.w), int64(16*n*blocks)
	if err := d.grow(r.work, roundUp(outSize, 256)+roundUp(partSize, 256)+statSize, "the scores of a batch"); err != nil {
		return err
	}
	if need := int(outSize); r.host.n < need {
		fresh, err := d.pin(need)
		if err == nil {
			err = cu.MemFreeHost(r.host.p)
		}
		if err != nil {
			return err
		}
		*r.host = fresh
	}
	gradient, part := at(r.work.p, resultSize(n)), at(r.work.p, roundUp(outSize, 256))
	stat := at(part, roundUp(partSize, 256))
	invZ := 0.0
	if s.Mode == ops.ScoreNCE {
		invZ = 1 / s.Z
	}
	gathered := d.span("gather")
	if err := d.launch(contrastKernel(r.w), driver.Dim{blocks, n, 1}, driver.Dim{contrastThreads, 1, 1}, d.args().Ptr(sent(queries)).Ptr(r.at).Ptr(sent(positives)).
		Ptr(picked).Ptr(sent(present)).Ptr(part).Ptr(stat).Int(s.K).Int(r.w).Int(int(s.Mode)).Float(float32(1/s.T)).Float(float32(invZ)).Float(float32(s.C0))); err != nil {
		return err
	}
	gathered()
	if err := d.launch("contrast_fold", driver.Dim{n, 1, 1}, driver.Dim{contrastThreads, 1, 1}, d.args().Ptr(part).Ptr(stat).Ptr(r.at).Ptr(sent(positives)).
		Ptr(picked).Ptr(sent(present)).Ptr(gradient).Ptr(r.work.p).Int(s.K).Int(r.w).Int(blocks).Int(int(s.Mode)).Float(float32(1/s.T)).Float(float32(s.Factor))); err != nil {
		return err
	}
	if err := done(); err != nil {
		return err
	}
	if err := cu.MemcpyDtoHAsync(r.host.p, r.work.p, outSize, d.compute); err != nil {
		return err
	}
	return r.arrived.Record(d.compute)
}

// resultSize is that of three doubles a query; the gradient follows, and both go to the host at once.
func resultSize(n int) int64 { return int64(24 * n) }

// collect waits for the running scoring, if there is one, and takes its results out of the host memory that the next one needs.
func (r *rows) collect(wait func(cu.Event) error) {
	s := r.running
	if s == nil {
		return
	}
	r.running = nil
	if s.err == nil {
		s.err = wait(r.arrived)
	}
	if s.err != nil {
		return
	}
	if s.mode != ops.ScoreSums {
		s.grad = append(s.grad, r.host.floats()[resultSize(s.n)/4:][:s.n*r.w]...)
	}
	columns := make([]float64, 3*s.n)
	s.out = ops.Scored{Loss: columns[:s.n], First: columns[s.n : 2*s.n], Sum: columns[2*s.n:]}
	for q, v := range unsafe.Slice((*[3]float64)(r.host.p), s.n) {
		s.out.Loss[q], s.out.First[q], s.out.Sum[q] = v[0], v[1], v[2]
	}
}

// contrastKernel is the kernel whose lanes hold just enough values.
func contrastKernel(w int) string {
	lanes := 1
	for 32*lanes < w {
		lanes *= 2
	}
	return fmt.Sprintf("contrast_%d", lanes)
}

// Update implements ops.Bank.
func (r *rows) Update(ids []int32, x []float32, present []bool, keep, take float32) error {
	if len(ids) == 0 {
		return nil
	}
	if len(x) != len(ids)*r.w {
		return fmt.Errorf("cuda: update %d rows of %d with %d values", len(ids), r.w, len(x))
	}
	for _, id := range ids {
		if id < 0 || int(id) >= r.n {
			return fmt.Errorf("cuda: update row %d of a bank of %d", id, r.n)
		}
	}
	r.d.post(func() error {
		p := &parcel{}
		values, which, there := p.add(asBytes(x)), p.add(intBytes(ids)), p.add(flags(present))
		done, err := r.d.deliver(r.news, p, r.d.hand, "new rows of a bank")
		if err != nil {
			return err
		}
		sent := func(offset int64) cu.DevicePtr { return partOf(r.news, offset) }
		updated := r.d.span("update of rows")
		if err := r.d.launch("memory_update", driver.Dim{len(ids), 1, 1}, driver.Dim{32, 1, 1}, r.d.args().Ptr(r.at).Ptr(sent(values)).Ptr(sent(which)).
			Ptr(sent(there)).Int(len(ids)).Int(r.w).Float(keep).Float(take)); err != nil {
			return err
		}
		updated()
		return done()
	})
	return nil
}

// flags are bytes of zero and one, nil for nil.
func flags(v []bool) []byte {
	if v == nil {
		return nil
	}
	out := make([]byte, len(v))
	for i, b := range v {
		if b {
			out[i] = 1
		}
	}
	return out
}
