package cpu

import (
	"fmt"
	"time"

	"github.com/contraflow/contraflow/ops"
)

// Device runs graphs on the processor. It belongs to one goroutine at a time; inside it uses its own threads.
type Device struct {
	isa     isa
	pairs   bool // convolutions in bfloat16
	pool    *pool
	chunk   func(worker, chunk int) // d.do
	job     job                     // that runs
	waiting job                     // that was postponed
	jobs    jobs
	scratch []scratch

	waitingChunks int

	weightGrad weightGrad // that is being computed
	winoGrad   winoGrad

	packed []float32  // the packed gradient chunk of backWeight
	parts  []float32  // of backWeight: gradients of segments
	sum    segmentSum // of them, to be done
	sums   []float64
	onSpan func(name string, start time.Time, d time.Duration)
	coef   []float32

	packedWeights    []float32 // of the layer whose input gradient is being computed
	winoV, winoU     []float32 // transformed tiles and weights
	copies           uint64    // the convolution of which workers make copies for themselves
	linearA, linearB []float32
}

var _ ops.Device = (*Device)(nil)

// Options are how the processor computes.
type Options struct {
	Threads int // that compute; 0 is one a core

	// BF16 rounds what convolutions multiply to bfloat16, where the machine has instructions for that and they have multiples of 32
	// channels and are not computed by Winograd's algorithm, which is as fast. Sums, weights and everything else stay float32.
	BF16 bool
}

// New opens the processor with a number of compute threads; 0 is one a core. It fails when CONTRAFLOW_ISA names
// kernels that this machine or build does not have.
func New(threads int) (*Device, error) { return Open(Options{Threads: threads}) }

// Open is New with options.
func Open(o Options) (*Device, error) {
	k, err := pick()
	if err != nil {
		return nil, err
	}
	d := newDevice(o.Threads, k)
	d.pairs = o.BF16 && k.pairs != nil
	return d, nil
}

func newDevice(threads int, k isa) *Device {
	d := &Device{isa: k, pool: newPool(threads)}
	d.chunk = d.do
	d.scratch = make([]scratch, d.pool.threads)
	for i := range d.scratch {
		d.scratch[i] = scratch{a: aligned(k.mr*(512+16) + slack), tile: aligned(k.mr*k.nr + slack)}
	}
	return d
}

// BF16 says whether Options.BF16 changes anything here: the processor has AVX512_BF16, or CONTRAFLOW_ISA names the generic kernels.
func BF16() bool {
	k, err := pick()
	return err == nil && k.pairs != nil
}

// Name is "cpu (avx512, 2 threads)" or, with BF16 on a machine that can, "cpu (avx512, bfloat16, 2 threads)".
func (d *Device) Name() string {
	kind := d.isa.name
	if d.pairs {
		kind += ", bfloat16"
	}
	return fmt.Sprintf("cpu (%s, %d threads)", kind, d.pool.threads)
}

// ISA is the set of kernels in use: avx512, avx2, neon or generic.
func (d *Device) ISA() string { return d.isa.name }

// OnSpan implements ops.Tracer: f is told of every step of a plan, forward and backward. Nothing is measured while f is nil.
func (d *Device) OnSpan(f func(name string, start time.Time, d time.Duration)) { d.onSpan = f }

// Behind implements ops.Tracer: calls return when their work is done.
func (d *Device) Behind() bool { return false }

// clock is now when somebody wants to know.
func (d *Device) clock() time.Time {
	if d.onSpan == nil {
		return time.Time{}
	}
	return time.Now()
}

// tell reports a step that began at begin.
func (d *Device) tell(begin time.Time, s *step, suffix string) {
	if d.onSpan == nil {
		return
	}
	name := s.Node.Name
	if name == "" {
		name = s.Kind.String()
	}
	d.onSpan(name+suffix, begin, time.Since(begin))
}

// Close ends the threads.
func (d *Device) Close() error {
	d.pool.close()
	return nil
}
