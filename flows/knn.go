package flows

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/contraflow/contraflow/ops/cpu"
)

// KNN is the weighted nearest-neighbour classifier of instance discrimination (Wu et al., arXiv:1805.01978):
// the K most similar training rows vote for their class with weight exp(similarity/T).
type KNN struct {
	K int     // neighbours; more than there are rows means all rows
	T float64 // temperature of the vote
}

// DefaultKNN is the setting of the paper.
var DefaultKNN = KNN{K: 200, T: 0.07}

// Neighbour is one training row and its cosine similarity to a query.
type Neighbour struct {
	Row        int
	Similarity float64
}

// Top1 is the share of queries whose vote gives their label, in [0,1]. Rows are compared by cosine, so they need
// not be unit length.
func (k KNN) Top1(train, query *FeatureSet) (float64, error) {
	predicted, err := k.Classify(train, query)
	if err != nil {
		return 0, err
	}
	right := 0
	for i, p := range predicted {
		if p == query.Labels[i] {
			right++
		}
	}
	return float64(right) / float64(max(len(predicted), 1)), nil
}

// Classify votes for every query. Equal votes go to the lower label.
func (k KNN) Classify(train, query *FeatureSet) ([]int, error) {
	neighbours, err := k.Search(train, query)
	if err != nil {
		return nil, err
	}
	classes := 0
	for _, l := range train.Labels {
		classes = max(classes, l+1)
	}
	out := make([]int, len(neighbours))
	votes := make([]float64, classes)
	for i, list := range neighbours {
		clear(votes)
		for _, n := range list { // less the nearest one's: any temperature gives a number
			votes[train.Labels[n.Row]] += math.Exp((n.Similarity - list[0].Similarity) / k.T)
		}
		for c, v := range votes {
			if v > votes[out[i]] {
				out[i] = c
			}
		}
	}
	return out, nil
}

// Search returns the K nearest training rows of every query, nearest first; rows of equal similarity in row order.
func (k KNN) Search(train, query *FeatureSet) ([][]Neighbour, error) {
	if train.Dim != query.Dim {
		return nil, fmt.Errorf("knn: training features have %d dimensions, queries %d: they must come from one encoder", train.Dim, query.Dim)
	}
	if k.K < 1 || !(k.T > 0) {
		return nil, fmt.Errorf("knn: k %d, temperature %v: both must be positive", k.K, k.T)
	}
	k.K = min(k.K, max(train.Len(), 1))
	q, d := query.unit(), train.Dim
	block := make([]int32, blockRows)
	for i := range block {
		block[i] = int32(i)
	}
	out := make([][]Neighbour, query.Len())
	procs := runtime.GOMAXPROCS(0)
	together := max(1, min(mostQueries, (len(out)+procs-1)/procs))
	todo := make(chan int)
	var wg sync.WaitGroup
	for range min(procs, len(out)) {
		wg.Go(func() {
			scores, unit := make([]float32, blockRows), make([]float32, blockRows*d)
			for first := range todo {
				found := make([]nearest, min(together, len(out)-first))
				for from := 0; from < train.Len(); from += blockRows {
					n := min(blockRows, train.Len()-from)
					copy(unit, train.Rows[from*d:][:n*d])
					for i := range n {
						normalise(unit[i*d:][:d])
					}
					for i := range found {
						cpu.GatherDot(scores[:n], q[(first+i)*d:][:d], unit, block[:n])
						found[i].add(scores[:n], from, k.K)
					}
				}
				for i := range found {
					out[first+i] = found[i].cut(k.K)
				}
			}
		})
	}
	for first := 0; first < len(out); first += together {
		todo <- first
	}
	close(todo)
	wg.Wait()
	return out, nil
}

// Rows are compared with several queries while they are in the second-level cache, where their lengths are made one: a copy of
// ImageNet's features would take as many gigabytes again.
const (
	blockRows   = 256
	mostQueries = 128
)

// nearest collects the nearest rows of a query, whose similarities come in row order.
type nearest struct {
	list  []Neighbour
	least float64 // what a row must exceed, once there are enough
	full  bool
}

// add takes the similarities of the rows from a number on.
func (n *nearest) add(scores []float32, from, keep int) {
	for j, s := range scores {
		v := float64(s)
		if n.full && v <= n.least {
			continue
		}
		n.list = append(n.list, Neighbour{from + j, v})
		if len(n.list) >= 2*keep {
			n.list = n.cut(keep)
			n.least, n.full = n.list[keep-1].Similarity, true
		}
	}
}

// cut sorts what was collected and leaves the nearest.
func (n *nearest) cut(keep int) []Neighbour {
	slices.SortFunc(n.list, func(a, b Neighbour) int {
		return cmp.Or(cmp.Compare(b.Similarity, a.Similarity), a.Row-b.Row)
	})
	return n.list[:min(keep, len(n.list))]
}
