package flows

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/stages"
)

// probeShards is how many pieces a batch is cut into, whatever the number of replicas that share them. Gradients are added
// up piece by piece in order, so that any number of replicas gives the same bits.
const probeShards = 8

// shardsOf gives the rows [from,to) of every shard of a batch of n: contiguous, of equal size but for the last.
func shardsOf(n int) (out [][2]int) {
	size := (n + probeShards - 1) / probeShards
	for from := 0; from < n; from += size {
		out = append(out, [2]int{from, min(n, from+size)})
	}
	return out
}

// share gives the shards of replica r of n: contiguous, as data-parallel training cuts a batch.
func share(shards, r, n int) (from, to int) { return r * shards / n, (r + 1) * shards / n }

// LinearHead is a linear classifier on frozen features, trained by SGD or Adam as the reference's probes are. Every replica has
// its own copy and device; one master copy of parameters and optimiser state is theirs all after every step. One goroutine uses it.
type LinearHead struct {
	Classes, Dim int
	LR           float64
	Momentum     float64 // of SGD
	Decay        float64
	Adam         *ops.Adam // Adam instead of SGD; LR and Decay are those above

	replicas []headReplica
	tensors  []headTensor
	steps    int // of Adam
	logits   []float32
	dlogits  []float32
	shards   []headShard
}

type headReplica struct {
	device      ops.Device
	params      ops.Params
	train, eval ops.Program
}

// headTensor is a parameter's master copy, in the device's layout where that can be reached, and its optimiser's state.
type headTensor struct {
	spec                  ops.ParamSpec
	value, moment, second []float32 // moment is SGD's velocity or Adam's first moment
	sum                   []float32 // of the gradients of one step
	shard                 [][]float32
}

type headShard struct{ tape ops.Tape }

// NewLinearHead makes a classifier with weights from N(0, 0.01) and biases of zero, as the reference has them. batch is the
// largest number of rows of a step.
func NewLinearHead(c encoders.Classifier, dim, batch, replicas, threads int, seed uint64) (*LinearHead, error) {
	h := &LinearHead{Classes: c.Labels, Dim: dim}
	c.Bins = 0
	g := c.Graph(ops.Shape{C: dim, H: 1, W: 1})
	if err := g.Err(); err != nil {
		return nil, err
	}
	rows := (batch + probeShards - 1) / probeShards
	for range replicas {
		d, err := openDevice(Options{Net: NetOptions{Device: "cpu", Threads: threadsEach(threads, replicas)}}) // replicas are for cores
		if err != nil {
			return nil, errors.Join(err, h.Close())
		}
		r := headReplica{device: d}
		h.replicas = append(h.replicas, r)
		r.params, err = d.NewParams(g)
		if err == nil {
			r.train, err = d.Compile(g, r.params, ops.Options{Batch: rows, Train: true})
		}
		if err == nil {
			r.eval, err = d.Compile(g, r.params, ops.Options{Batch: rows})
		}
		if err != nil {
			return nil, errors.Join(err, h.Close())
		}
		h.replicas[len(h.replicas)-1] = r
	}
	sizes := localSizes(h.replicas[0].params)
	for i, s := range h.replicas[0].params.Specs() {
		n := sizes[i]
		h.tensors = append(h.tensors, headTensor{spec: s, value: make([]float32, n), moment: make([]float32, n), second: make([]float32, n), sum: make([]float32, n)})
	}
	for i, s := range h.replicas[0].params.Specs() {
		v := make([]float32, s.Len())
		if s.Role == ops.Weight {
			r := stages.Draw(seed, 0, i, stages.PurposeInit)
			for j := range v {
				v[j] = float32(0.01 * r.NormFloat64())
			}
		}
		if err := h.write(i, v); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	return h, nil
}

// localSizes are the lengths of the tensors as adopt fills them.
func localSizes(p ops.Params) (n []int) {
	if local, ok := p.(ops.Local); ok {
		local.Local(func(_ ops.ParamSpec, value, _ []float32) { n = append(n, len(value)) })
		return n
	}
	for _, s := range p.Specs() {
		n = append(n, s.Len())
	}
	return n
}

// threadsEach divides compute threads among replicas.
func threadsEach(threads, replicas int) int {
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return max(1, threads/replicas)
}

// Close gives the devices back.
func (h *LinearHead) Close() error {
	var errs []error
	for _, r := range h.replicas {
		errs = append(errs, r.device.Close())
	}
	return errors.Join(errs...)
}

// each runs f for every replica at once.
func (h *LinearHead) each(f func(r int) error) error {
	errs := make([]error, len(h.replicas))
	var wg sync.WaitGroup
	for r := 1; r < len(h.replicas); r++ {
		wg.Go(func() { errs[r] = f(r) })
	}
	errs[0] = f(0)
	wg.Wait()
	return errors.Join(errs...)
}

// Step trains on rows x [n,Dim] and returns the mean loss in nats, and the logits [n,Classes] from before the step, valid until
// the next call.
func (h *LinearHead) Step(x []float32, labels []int) (loss float64, logits []float32, err error) {
	shards, err := h.forward(x, len(labels), true)
	if err != nil {
		return 0, nil, err
	}
	h.dlogits = fresh(h.dlogits, len(h.logits))
	loss = ops.SoftmaxCrossEntropy(h.dlogits, h.logits, labels, h.Classes)
	if err := diverged(loss); err != nil {
		for _, s := range h.shards[:len(shards)] {
			s.tape.Release()
		}
		return loss, h.logits, err
	}
	if err := h.backward(shards); err != nil {
		return 0, nil, err
	}
	if err := h.update(len(shards)); err != nil {
		return 0, nil, err
	}
	return loss, h.logits, nil
}

// diverged refuses a loss that is no number.
func diverged(loss float64) error {
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return fmt.Errorf("the loss is %v: lower --learning_rate", loss)
	}
	return nil
}

// Logits classifies rows x [n,Dim]; the result is valid until the next call.
func (h *LinearHead) Logits(x []float32, n int) ([]float32, error) {
	_, err := h.forward(x, n, false)
	return h.logits, err
}

// forward fills logits, and in training the shards' tapes.
func (h *LinearHead) forward(x []float32, n int, train bool) ([][2]int, error) {
	if len(x) != n*h.Dim || n < 1 {
		return nil, fmt.Errorf("probe: %d values for %d rows of %d features", len(x), n, h.Dim)
	}
	shards := shardsOf(n)
	h.logits = fresh(h.logits, n*h.Classes)
	if len(h.shards) < len(shards) {
		h.shards = make([]headShard, len(shards))
	}
	return shards, h.each(func(r int) error {
		from, to := share(len(shards), r, len(h.replicas))
		for s := from; s < to; s++ {
			a, b := shards[s][0], shards[s][1]
			p := h.replicas[r].eval
			if train {
				p = h.replicas[r].train
			}
			t, err := p.Forward(x[a*h.Dim:b*h.Dim], b-a)
			if err != nil {
				return err
			}
			copy(h.logits[a*h.Classes:], t.Output(0))
			if h.shards[s].tape = t; !train {
				t.Release()
			}
		}
		return nil
	})
}

// backward computes every shard's gradients.
func (h *LinearHead) backward(shards [][2]int) error {
	for i := range h.tensors {
		t := &h.tensors[i]
		for len(t.shard) < len(shards) {
			t.shard = append(t.shard, make([]float32, len(t.sum)))
		}
	}
	return h.each(func(r int) error {
		from, to := share(len(shards), r, len(h.replicas))
		params := h.replicas[r].params
		for s := from; s < to; s++ {
			params.ZeroGrad()
			if _, err := h.shards[s].tape.Backward(h.dlogits[shards[s][0]*h.Classes : shards[s][1]*h.Classes]); err != nil {
				return err
			}
			if local, ok := params.(ops.Local); ok {
				i := 0
				local.Local(func(_ ops.ParamSpec, _, grad []float32) {
					copy(h.tensors[i].shard[s], grad)
					i++
				})
				continue
			}
			for i := range h.tensors {
				if err := params.ReadGrad(h.tensors[i].spec.Name, h.tensors[i].shard[s]); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// updatePiece is how many values one piece of the update has: its bounds depend on the tensor alone.
const updatePiece = 1 << 15

// update adds up the shards' gradients in order, steps the optimiser, and gives every replica the new parameters.
func (h *LinearHead) update(shards int) error {
	h.steps++
	for i := range h.tensors {
		t := &h.tensors[i]
		parallelPieces(len(t.sum), updatePiece, func(from, to int) {
			sum := t.sum[from:to]
			copy(sum, t.shard[0][from:to])
			for _, g := range t.shard[1:shards] {
				for j, v := range g[from:to] {
					sum[j] += v
				}
			}
			if h.Adam != nil {
				a := *h.Adam
				a.LR, a.Decay = h.LR, h.Decay
				a.Step(t.value[from:to], sum, t.moment[from:to], t.second[from:to], h.steps)
				return
			}
			ops.SGD(t.value[from:to], sum, t.moment[from:to], h.LR, h.Momentum, h.Decay)
		})
	}
	return h.broadcast()
}

// broadcast gives every replica the master's parameters.
func (h *LinearHead) broadcast() error {
	return h.each(func(r int) error {
		params := h.replicas[r].params
		if local, ok := params.(ops.Local); ok {
			i := 0
			local.Local(func(_ ops.ParamSpec, value, _ []float32) {
				copy(value, h.tensors[i].value)
				i++
			})
			return nil
		}
		for _, t := range h.tensors {
			if err := params.Write(t.spec.Name, t.value); err != nil {
				return err
			}
		}
		return nil
	})
}

// parallelPieces runs f over [0,n) in pieces, on every core.
func parallelPieces(n, piece int, f func(from, to int)) {
	count := (n + piece - 1) / piece
	workers := min(runtime.GOMAXPROCS(0), count)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for k := w; k < count; k += workers {
				f(k*piece, min(n, (k+1)*piece))
			}
		})
	}
	wg.Wait()
}

// write sets tensor i, given in the reference's layout, everywhere.
func (h *LinearHead) write(i int, v []float32) error {
	for _, r := range h.replicas {
		if err := r.params.Write(h.tensors[i].spec.Name, v); err != nil {
			return err
		}
	}
	return h.adopt(h.tensors[i].value, i)
}

// adopt copies tensor i of the first replica into dst, in the master's layout.
func (h *LinearHead) adopt(dst []float32, i int) error {
	params := h.replicas[0].params
	if local, ok := params.(ops.Local); ok {
		k := 0
		local.Local(func(_ ops.ParamSpec, value, _ []float32) {
			if k == i {
				copy(dst, value)
			}
			k++
		})
		return nil
	}
	return params.Read(h.tensors[i].spec.Name, dst)
}

// HeadState is a copy of a head in the reference's layout.
type HeadState struct {
	Names          []string
	Shapes         [][]int
	Values         [][]float32
	Moment, Second [][]float32 // of the optimiser; Second is Adam's alone
	Steps          int
	Norm           *FeatureNorm // a copy of the running statistics, nil without
}

// State copies the head.
func (h *LinearHead) State() (*HeadState, error) {
	out := &HeadState{Steps: h.steps}
	for _, t := range h.tensors {
		out.Names, out.Shapes = append(out.Names, t.spec.Name), append(out.Shapes, t.spec.Shape)
		for _, part := range []struct {
			from []float32
			to   *[][]float32
		}{{t.value, &out.Values}, {t.moment, &out.Moment}, {t.second, &out.Second}} {
			v, err := h.export(t, part.from)
			if err != nil {
				return nil, err
			}
			*part.to = append(*part.to, v)
		}
	}
	if h.Adam == nil {
		out.Second = nil
	}
	return out, h.broadcast()
}

// export turns values of the master's layout into the reference's, through the first replica, which broadcast mends.
func (h *LinearHead) export(t headTensor, from []float32) ([]float32, error) {
	params, out := h.replicas[0].params, make([]float32, t.spec.Len())
	local, ok := params.(ops.Local)
	if !ok {
		copy(out, from)
		return out, nil
	}
	local.Local(func(s ops.ParamSpec, value, _ []float32) {
		if s.Name == t.spec.Name {
			copy(value, from)
		}
	})
	return out, params.Read(t.spec.Name, out)
}

// Restore brings a copy back. Without any moments they are zero.
func (h *LinearHead) Restore(s *HeadState) error {
	if len(s.Names) != len(h.tensors) {
		return fmt.Errorf("the checkpoint has %d tensors of a classifier, this probe has %d", len(s.Names), len(h.tensors))
	}
	for i := range h.tensors {
		t := &h.tensors[i]
		if s.Names[i] != t.spec.Name || len(s.Values[i]) != t.spec.Len() {
			return fmt.Errorf("the checkpoint has %s %v, this probe %s %v: it was saved with another --layer, --model or number of classes", s.Names[i], s.Shapes[i], t.spec.Name, t.spec.Shape)
		}
		for _, part := range []struct {
			from [][]float32
			to   []float32
		}{{s.Moment, t.moment}, {s.Second, t.second}} {
			clear(part.to)
			if part.from == nil || part.from[i] == nil {
				if slices.ContainsFunc(part.from, func(m []float32) bool { return m != nil }) {
					return fmt.Errorf("the checkpoint has moments of its optimiser, but none of %s: whatever wrote it left that out", t.spec.Name)
				}
				continue
			}
			if err := h.replicas[0].params.Write(t.spec.Name, part.from[i]); err != nil {
				return err
			}
			if err := h.adopt(part.to, i); err != nil {
				return err
			}
		}
		if err := h.write(i, s.Values[i]); err != nil {
			return err
		}
	}
	h.steps = s.Steps
	return h.broadcast()
}
