//go:build cuda

package cuda

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda/driver"
)

// rows is a bank on the device.
type rows struct {
	d     *Device
	n, w  int
	at    cu.DevicePtr
	input *slot   // queries, positives, ids, presence, index
	index *buffer // drawn rows [B,K+1]
	work  *buffer // partial results, then results
	host  *pinned // results
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
	return r.Put(0, src)
}

// Put implements ops.Bank.
func (r *rows) Put(first int, src []float32) error {
	if len(src) == 0 {
		return nil
	}
	return r.d.do(func() error {
		if err := r.d.compute.Synchronize(); err != nil {
			return err
		}
		if err := cu.MemcpyHtoD(at(r.at, int64(4*first*r.w)), unsafe.Pointer(&src[0]), int64(4*len(src))); err != nil {
			return err
		}
		return cu.Synchronize()
	})
}

// deliver uploads a parcel through the bank's slot.
func (r *rows) deliver(p *parcel) (func() error, error) {
	return r.d.deliver(r.input, p, "queries of a bank")
}

// sent is the device address of a part, null for -1.
func (r *rows) sent(offset int64) cu.DevicePtr { return partOf(r.input, offset) }

const contrastColumns, contrastThreads = 1024, 128 // as in bank.cu

// Score implements ops.Bank.
func (r *rows) Score(s ops.Scoring, grad []float32) (ops.Scored, error) {
	d, n := r.d, len(s.Queries)/r.w
	out := ops.Scored{Loss: make([]float64, n), First: make([]float64, n), Sum: make([]float64, n)}
	if len(grad) != len(s.Queries) {
		return out, fmt.Errorf("cuda: gradient of %d values for queries of %d", len(grad), len(s.Queries))
	}
	err := d.do(func() error {
		defer d.span("contrast")()
		p := &parcel{}
		queries, positives, index := p.add(asBytes(s.Queries)), p.add(asBytes(s.Positives)), p.add(intBytes(s.Index))
		ids, present := p.add(intBytes(s.IDs)), p.add(flags(s.Present))
		done, err := r.deliver(p)
		if err != nil {
			return err
		}
		picked := r.sent(index)
		if ids >= 0 {
			if err := d.grow(r.index, int64(4*n*(s.K+1)), "the rows drawn for a batch"); err != nil {
				return err
			}
			picked = r.index.p
			if err := d.each("draw_rows", int64(n*s.K+63)/64+int64(n), 1, d.args().Ptr(picked).Ptr(r.sent(ids)).Int(n).Int(s.K).
				Long(int64(s.Seed)).Long(int64(s.Stream)).Long(int64(r.n))); err != nil {
				return err
			}
		}
		blocks := (s.K + contrastColumns) / contrastColumns
		resultSize := int64(24 * n) // of three doubles a query; the gradient follows, and both go to the host at once
		outSize := resultSize + int64(4*n*r.w)
		partSize, statSize := int64(4*n*blocks*r.w), int64(16*n*blocks)
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
		gradient, part := at(r.work.p, resultSize), at(r.work.p, roundUp(outSize, 256))
		stat := at(part, roundUp(partSize, 256))
		invZ := 0.0
		if s.Mode == ops.ScoreNCE {
			invZ = 1 / s.Z
		}
		gathered := d.span("gather")
		if err := d.launch(contrastKernel(r.w), driver.Dim{blocks, n, 1}, driver.Dim{contrastThreads, 1, 1}, d.args().Ptr(r.sent(queries)).Ptr(r.at).Ptr(r.sent(positives)).
			Ptr(picked).Ptr(r.sent(present)).Ptr(part).Ptr(stat).Int(s.K).Int(r.w).Int(int(s.Mode)).Float(float32(1/s.T)).Float(float32(invZ)).Float(float32(s.C0))); err != nil {
			return err
		}
		gathered()
		if err := d.launch("contrast_fold", driver.Dim{n, 1, 1}, driver.Dim{contrastThreads, 1, 1}, d.args().Ptr(part).Ptr(stat).Ptr(r.at).Ptr(r.sent(positives)).
			Ptr(picked).Ptr(r.sent(present)).Ptr(gradient).Ptr(r.work.p).Int(s.K).Int(r.w).Int(blocks).Int(int(s.Mode)).Float(float32(1/s.T)).Float(float32(s.Factor))); err != nil {
			return err
		}
		if err := done(); err != nil {
			return err
		}
		if err := cu.MemcpyDtoHAsync(r.host.p, r.work.p, outSize, d.compute); err != nil {
			return err
		}
		if err := d.compute.Synchronize(); err != nil {
			return err
		}
		if s.Mode != ops.ScoreSums {
			for i, g := range r.host.floats()[resultSize/4:][:len(grad)] {
				grad[i] += g
			}
		}
		results := unsafe.Slice((*float64)(r.host.p), 3*n)
		for q := range n {
			out.Loss[q], out.First[q], out.Sum[q] = results[3*q], results[3*q+1], results[3*q+2]
		}
		return nil
	})
	return out, err
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
	return r.d.do(func() error {
		p := &parcel{}
		values, which, there := p.add(asBytes(x)), p.add(intBytes(ids)), p.add(flags(present))
		done, err := r.deliver(p)
		if err != nil {
			return err
		}
		if err := r.d.launch("memory_update", driver.Dim{len(ids), 1, 1}, driver.Dim{32, 1, 1}, r.d.args().Ptr(r.at).Ptr(r.sent(values)).Ptr(r.sent(which)).
			Ptr(r.sent(there)).Int(len(ids)).Int(r.w).Float(keep).Float(take)); err != nil {
			return err
		}
		return done()
	})
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
