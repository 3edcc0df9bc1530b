package flows

import (
	"encoding/json"
	"math"

	"github.com/contraflow/contraflow/bank"
	"github.com/contraflow/contraflow/stages"
)

// Similarities is a histogram of what one batch's queries have in common with their positives and with negatives: cosines of
// unit rows, in equal bins over [-1,1].
type Similarities struct {
	Step     int     `json:"step"`
	Epoch    int     `json:"epoch"`
	Positive []int   `json:"positive"`
	Negative []int   `json:"negative"`
	PosMean  float64 `json:"positive_mean"`
	NegMean  float64 `json:"negative_mean"`
}

// simBins is how many bins a histogram has; simNegatives how many negatives of a query it counts.
const (
	simBins      = 40
	simNegatives = 32
)

// newSimilarities is an empty histogram.
func newSimilarities(p stages.Plan) *Similarities {
	return &Similarities{Step: p.Step, Epoch: p.Epoch, Positive: make([]int, simBins), Negative: make([]int, simBins)}
}

func (h *Similarities) add(positive bool, query, row []float32) {
	s := dot(query, row)
	bin := min(max(int((s+1)/2*simBins), 0), simBins-1)
	if math.IsNaN(s) {
		return
	}
	if positive {
		h.Positive[bin]++
		h.PosMean += s
	} else {
		h.Negative[bin]++
		h.NegMean += s
	}
}

func (h *Similarities) finish() {
	total := func(bins []int) (n int) {
		for _, b := range bins {
			n += b
		}
		return n
	}
	h.PosMean /= float64(max(total(h.Positive), 1))
	h.NegMean /= float64(max(total(h.Negative), 1))
}

// watchedObjective looks at the first batch of every epoch before the objective scores it, when the bank is as the loss will
// see it.
type watchedObjective struct {
	objective
	lines *Metrics
}

// Score implements stages.Objective.
func (w *watchedObjective) Score(s *stages.Scores) error {
	if s.Plan.Batch == 0 {
		h, err := similaritiesOf(w.objective, s)
		if err != nil {
			return err
		}
		if h != nil {
			text, err := json.Marshal(h)
			if err != nil {
				return err
			}
			w.lines.append(append(text, '\n'))
		}
	}
	return w.objective.Score(s)
}

// similaritiesOf compares a batch with the bank of an objective; nil when it has none.
func similaritiesOf(o objective, s *stages.Scores) (*Similarities, error) {
	h := newSimilarities(s.Plan)
	switch o := o.(type) {
	case *CMC:
		index := sample(o.Sampler, s, o.K)
		rows := make([][]float32, len(o.Memories))
		for v, m := range o.Memories {
			var err error
			if rows[v], err = m.Rows(); err != nil {
				return nil, err
			}
		}
		for _, pair := range o.Pairs {
			for dir := range 2 {
				query, key := pair[dir], pair[1-dir]
				h.memory(s.Out[query], rows[key], index, len(s.Index), both(s.Batch, query, key))
			}
		}
	case *InsDis:
		rows, err := o.Memory.Rows()
		if err != nil {
			return nil, err
		}
		h.memory(s.Out[0], rows, sample(o.Sampler, s, o.K), len(s.Index), nil)
	case *MoCo:
		rows, err := o.Queue.Rows()
		if err != nil {
			return nil, err
		}
		d := o.Queue.D
		step := max(1, o.Queue.K/simNegatives)
		for b := range len(s.Index) {
			q := s.Out[0][b*d:][:d]
			h.add(true, q, s.Out[1][b*d:][:d])
			for k := 0; k < o.Queue.K; k += step {
				h.add(false, q, rows[k*d:][:d])
			}
		}
	default:
		return nil, nil
	}
	h.finish()
	return h, nil
}

// sample draws a few negatives of every query, [B,1+min(K,simNegatives)], as the loss draws its own.
func sample(from bank.Sampler, s *stages.Scores, k int) []int32 {
	k = min(k, simNegatives)
	index := make([]int32, len(s.Index)*(k+1))
	from.Draw(index, s.Index, k, s.Step)
	return index
}

// memory counts n queries against the rows of a memory.
func (h *Similarities) memory(queries, rows []float32, index []int32, n int, present []bool) {
	d, width := len(queries)/n, len(index)/n
	for b := range n {
		if present != nil && !present[b] {
			continue
		}
		q := queries[b*d:][:d]
		for j, row := range index[b*width:][:width] {
			if j == 0 || row != index[b*width] { // the draw may hit the positive
				h.add(j == 0, q, rows[int(row)*d:][:d])
			}
		}
	}
}

// dot is the product of two rows.
func dot(a, b []float32) (sum float64) {
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}
