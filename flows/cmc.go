package flows

import (
	"fmt"

	"github.com/contraflow/contraflow/bank"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cpu"
	"github.com/contraflow/contraflow/stages"
)

// CMC is contrastive multiview coding (Tian et al., arXiv:1906.05849) over a memory a view: the embedding of one view is
// scored against the memory of another, for every pair of views and in both directions. Two views are the reference,
// to the bit of its arithmetic; more views follow the paper's core or full graph.
type CMC struct {
	Names    []string // of the views, for the logged values: "l", "ab"
	Memories []*bank.Memory
	Losses   []*bank.Loss // one a direction: pair by pair, first view's query first
	Pairs    [][2]int
	Sampler  bank.Sampler
	K        int

	// ready, if set, is told of every gradient that is complete while a device works on other scores.
	ready func(pass int, d []float32) error

	index   []int32
	grads   [][]float32
	results []viewResult

	// Of the step that is being scored:
	of      *stages.Features // nil before it begins
	drawn   []int32          // negatives, or draw
	draw    *bank.Drawing
	pending []bank.Pending // one a direction, for those that have begun
	begun   []bool
	left    []int // directions of every query that are still waited for
}

// viewResult is what the directions whose queries are of one view gave, and the names it is logged under.
type viewResult struct {
	lossName, probName string
	loss, prob         float64
	uses               int
}

// Pairs lists the pairs of views that are contrasted: "core" the first view with every other, "full" all.
func Pairs(graph string, views int) ([][2]int, error) {
	var out [][2]int
	for i := range views {
		for j := i + 1; j < views; j++ {
			if graph == "full" || i == 0 {
				out = append(out, [2]int{i, j})
			}
		}
	}
	if graph != "full" && graph != "core" {
		return nil, fmt.Errorf("--graph %q: choose core or full", graph)
	}
	return out, nil
}

// NewCMC makes memories and losses for views of embeddings of dimension d and n images.
func NewCMC(o Options, names []string, n, d int) (*CMC, error) {
	pairs, err := Pairs(o.Loss.Graph, len(names))
	if err != nil {
		return nil, err
	}
	c := &CMC{Names: names, Pairs: pairs, K: o.Loss.K, Sampler: bank.Sampler{N: n, Seed: seedOf(o, stages.PurposeBank)}}
	for v := range names {
		m, err := bank.NewMemory(n, d, float64(float32(o.Loss.M)), seedOf(o, stages.PurposeBank)+uint64(v))
		if err != nil {
			return nil, err
		}
		c.Memories = append(c.Memories, m)
		c.grads, c.left = append(c.grads, nil), append(c.left, 0)
		c.results = append(c.results, viewResult{lossName: names[v] + "_loss", probName: names[v] + "_prob"})
	}
	for range 2 * len(pairs) {
		// The reference keeps T in a float32 tensor.
		l, err := bank.NewLoss(o.Loss.Softmax, float64(float32(o.Loss.T)), n)
		if err != nil {
			return nil, err
		}
		l.ZDecay = o.Loss.ZDecay
		c.Losses = append(c.Losses, l)
		c.pending, c.begun = append(c.pending, bank.Pending{}), append(c.begun, false)
	}
	return c, nil
}

// Score implements stages.Objective. All directions share the batch's draw of negatives; memories are read before they
// are updated.
func (c *CMC) Score(s *stages.Scores) error {
	c.prepare(s.Features)
	return c.score(s)
}

// ScoreWith is Score with given negatives, [B,K+1].
func (c *CMC) ScoreWith(s *stages.Scores, index []int32) error {
	c.start(s.Features, index, nil)
	return c.score(s)
}

// prepare draws the negatives of a step, once.
func (c *CMC) prepare(f *stages.Features) {
	if c.of != f {
		index, draw := c.Memories[0].Negatives(c.Sampler, &c.index, f.Index, c.K, f.Step)
		c.start(f, index, draw)
	}
}

func (c *CMC) start(f *stages.Features, index []int32, draw *bank.Drawing) {
	c.of, c.drawn, c.draw = f, index, draw
	clear(c.begun)
	for v := range c.grads {
		c.grads[v] = c.grads[v][:0]
		r := &c.results[v]
		r.loss, r.prob, r.uses = 0, 0, 0
	}
}

// arrived begins the directions whose query is this pass, while the device works on others: Score finds them begun. A direction that
// is to find Z, which a checkpoint holds, waits for its turn.
func (c *CMC) arrived(f *stages.Features, pass int) {
	c.prepare(f)
	for i, pair := range c.Pairs {
		for dir := range 2 {
			if l := c.Losses[2*i+dir]; pair[dir] == pass && !l.FindsZ() {
				c.begin(f, 2*i+dir)
			}
		}
	}
}

// begin begins one direction.
func (c *CMC) begin(f *stages.Features, i int) {
	pair, dir := c.Pairs[i/2], i%2
	query, key := pair[dir], pair[1-dir]
	out := f.Out[query]
	if len(c.grads[query]) == 0 {
		c.grads[query] = fresh(c.grads[query], len(out))
	}
	c.pending[i] = c.Memories[key].Begin(c.Losses[i], bank.Batch{
		Queries: out, K: c.K, Index: c.drawn, Draw: c.draw, Present: both(f.Batch, query, key),
	}, c.grads[query])
	c.begun[i] = true
}

func (c *CMC) score(s *stages.Scores) error {
	clear(c.left)
	for i := range c.pending {
		c.left[c.Pairs[i/2][i%2]]++
		if !c.begun[i] {
			c.begin(s.Features, i)
		}
	}
	c.of = nil
	for v, m := range c.Memories { // a device has all its work before the first result is waited for
		if err := m.Update(s.Index, s.Out[v], present(s.Batch, v)); err != nil {
			return err
		}
	}
	for i := range c.pending {
		r, err := c.pending[i].Wait()
		if err != nil {
			return err
		}
		query := c.Pairs[i/2][i%2]
		s.Loss += r.Loss
		sum := &c.results[query]
		sum.loss += r.Loss
		sum.prob += r.Prob
		sum.uses++
		if c.left[query]--; c.left[query] == 0 && c.ready != nil && i < len(c.pending)-1 {
			if err := c.ready(query, c.grads[query]); err != nil {
				return err
			}
		}
	}
	for _, r := range c.results {
		s.Values = append(s.Values, stages.Value{Name: r.lossName, V: r.loss}, stages.Value{Name: r.probName, V: r.prob / float64(max(r.uses, 1))})
	}
	s.D = c.grads
	return nil
}

// State implements stages.Objective, with the reference's names.
func (c *CMC) State(old []stages.BankTensor) ([]stages.BankTensor, error) {
	params := []float32{float32(c.K), float32(c.Losses[0].T)}
	for _, l := range c.Losses {
		params = append(params, float32(l.Z))
	}
	params = append(params, float32(c.Memories[0].Momentum))
	out := []stages.BankTensor{{Name: "params", Shape: []int{len(params)}, Data: params}}
	for v, m := range c.Memories {
		rows, err := m.Rows()
		if err != nil {
			return nil, err
		}
		out = append(out, tensorOf(old, "memory_"+c.Names[v], m.N, m.D, rows))
	}
	return out, nil
}

// Restore implements objective.
func (c *CMC) Restore(get func(name string, n int) ([]float32, error)) error {
	params, err := get("params", 3+len(c.Losses))
	if err != nil {
		return err
	}
	for i, l := range c.Losses {
		l.Z = float64(params[2+i])
	}
	for v, m := range c.Memories {
		rows, err := get("memory_"+c.Names[v], m.N*m.D)
		if err != nil {
			return err
		}
		if err := m.SetRows(rows); err != nil {
			return err
		}
	}
	return nil
}

// moveTo keeps the memories on a device.
func (c *CMC) moveTo(d ops.Banker) error {
	for _, m := range c.Memories {
		if err := m.MoveTo(d); err != nil {
			return err
		}
	}
	return nil
}

// tensorOf copies rows [n,d], into the memory of the old tensor of that name if there is one.
func tensorOf(old []stages.BankTensor, name string, n, d int, rows []float32) stages.BankTensor {
	out := stages.BankTensor{Name: name, Shape: []int{n, d}}
	for _, t := range old {
		if t.Name == name {
			out.Data = t.Data
		}
	}
	if len(out.Data) != len(rows) {
		out.Data = cpu.NewRows(len(rows))
	}
	copy(out.Data, rows)
	return out
}

// fresh is a zeroed slice of n values, reusing s.
func fresh(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	s = s[:n]
	clear(s)
	return s
}

func present(b *stages.Batch, v int) []bool {
	if b.Present == nil {
		return nil
	}
	return b.Present[v]
}

// both says which samples have both views.
func both(b *stages.Batch, v, w int) []bool {
	p, q := present(b, v), present(b, w)
	if p == nil || q == nil {
		if p == nil {
			return q
		}
		return p
	}
	out := make([]bool, len(p))
	for i := range out {
		out[i] = p[i] && q[i]
	}
	return out
}
