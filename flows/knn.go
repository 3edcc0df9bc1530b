package flows

import (
	"fmt"
	"math"
	"runtime"
	"sort"
	"sync"
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
		for _, n := range list {
			votes[train.Labels[n.Row]] += math.Exp(n.Similarity / k.T)
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
	if k.K < 1 || k.T <= 0 {
		return nil, fmt.Errorf("knn: k %d, temperature %v: both must be positive", k.K, k.T)
	}
	keep := min(k.K, train.Len())
	unit, q := train.unit(), query.unit()
	out := make([][]Neighbour, query.Len())
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			all := make([]Neighbour, train.Len())
			for i := w; i < len(out); i += workers {
				row := q[i*query.Dim:][:query.Dim]
				for j := range all {
					all[j] = Neighbour{j, dot(row, unit[j*train.Dim:][:train.Dim])}
				}
				sort.Slice(all, func(a, b int) bool {
					if all[a].Similarity != all[b].Similarity {
						return all[a].Similarity > all[b].Similarity
					}
					return all[a].Row < all[b].Row
				})
				out[i] = append([]Neighbour(nil), all[:keep]...)
			}
		})
	}
	wg.Wait()
	return out, nil
}

func dot(a, b []float32) float64 {
	var s0, s1, s2, s3 float32
	for len(a) >= 4 && len(b) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	for i := range a {
		s0 += a[i] * b[i]
	}
	return float64(s0+s1) + float64(s2+s3)
}
