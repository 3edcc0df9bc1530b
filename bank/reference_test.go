package bank_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contraflow/contraflow/bank"
)

// plain is a loss written down as in the papers, in float64: a query at a time and a row at a time.
type plain struct {
	loss, prob   float64
	grad, scores []float64
}

// similarities are the inner products of query q with the rows of its columns, and those rows.
func similarities(b bank.Batch, q int) (s []float64, rows [][]float32) {
	for j := range b.K + 1 {
		switch {
		case b.Index != nil:
			rows = append(rows, b.Rows[int(b.Index[q*(b.K+1)+j])*b.D:][:b.D])
		case j == 0:
			rows = append(rows, b.Positives[q*b.D:][:b.D])
		default:
			rows = append(rows, b.Rows[(j-1)*b.D:][:b.D])
		}
		var sum float64
		for k, v := range rows[j] {
			sum += float64(v) * float64(b.Queries[q*b.D+k])
		}
		s = append(s, sum)
	}
	return s, rows
}

func plainScore(l *bank.Loss, b bank.Batch) plain {
	n, width := len(b.Queries)/b.D, b.K+1
	p := plain{grad: make([]float64, len(b.Queries)), scores: make([]float64, n*width)}
	var count float64
	for q := range n {
		if b.Present == nil || b.Present[q] {
			count++
		}
	}
	weight := b.Weight
	if weight == 0 {
		weight = 1
	}
	for q := range n {
		if b.Present != nil && !b.Present[q] {
			continue
		}
		s, rows := similarities(b, q)
		coef := make([]float64, width) // of the gradient by s/T
		var loss float64
		if l.Softmax {
			var sum float64
			for _, v := range s {
				sum += math.Exp(v / l.T)
			}
			loss = math.Log(sum) - s[0]/l.T
			for j, v := range s {
				coef[j] = math.Exp(v/l.T) / sum
				p.scores[q*width+j] = v / l.T
			}
			coef[0]--
		} else {
			noise := float64(b.K) / float64(l.N)
			c := noise + 1e-7 // the reference's guard
			for j, v := range s {
				e := math.Exp(v/l.T) / l.Z
				p.scores[q*width+j] = e
				if j == 0 {
					loss -= math.Log(e / (e + c))
					coef[j] = -c / (e + c)
				} else {
					loss -= math.Log(noise / (e + c))
					coef[j] = e / (e + c)
				}
			}
		}
		p.loss += weight * loss / count
		p.prob += p.scores[q*width] / count
		for j, row := range rows {
			for k, v := range row {
				p.grad[q*b.D+k] += weight / count * coef[j] * float64(v) / l.T
			}
		}
	}
	return p
}

// constant is what the first batch sets NCE's Z to.
func constant(l *bank.Loss, b bank.Batch) float64 {
	var sum, count float64
	for q := range len(b.Queries) / b.D {
		if b.Present == nil || b.Present[q] {
			s, _ := similarities(b, q)
			for _, v := range s {
				sum += math.Exp(v / l.T)
				count++
			}
		}
	}
	return sum / count * float64(l.N)
}

// randomBatch makes n queries of unit length and k negatives each: of a memory of `rows` rows, or a queue of k.
func randomBatch(n, d, k, rows int, queue bool) bank.Batch {
	r := rand.New(rand.NewPCG(7, uint64(k)))
	unit := func(n int) []float32 {
		x := make([]float32, n*d)
		for i := 0; i < len(x); i += d {
			var sum float64
			for j := range d {
				x[i+j] = float32(r.NormFloat64())
				sum += float64(x[i+j]) * float64(x[i+j])
			}
			for j := range d {
				x[i+j] /= float32(math.Sqrt(sum))
			}
		}
		return x
	}
	b := bank.Batch{Queries: unit(n), D: d, K: k}
	if queue {
		b.Rows, b.Positives = unit(k), unit(n)
		return b
	}
	b.Rows = unit(rows)
	for range n * (k + 1) {
		b.Index = append(b.Index, int32(r.IntN(rows)))
	}
	return b
}

// hardLast turns the rows of a queue round so that what is most like a query comes last: softmax's largest logit grows block by block.
func hardLast(b bank.Batch) bank.Batch {
	copy(b.Rows[len(b.Rows)-b.D:], b.Queries[:b.D])
	copy(b.Rows[len(b.Rows)/2/b.D*b.D:], b.Queries[b.D:2*b.D])
	return b
}

// Both losses, over more rows than are scored at once, are what the papers' formulas give: loss, probability, scores and gradient.
func TestScoresAsWritten(t *testing.T) {
	const n, d, many = 21, 8, 1300
	some := make([]bool, n)
	for q := range some {
		some[q] = q%3 != 1
	}
	with := func(b bank.Batch, present []bool, weight float64) bank.Batch {
		b.Present, b.Weight = present, weight
		return b
	}
	for name, b := range map[string]bank.Batch{
		"memory":                   randomBatch(n, d, many, 90, false),
		"queue":                    randomBatch(n, d, many, 0, true),
		"queue, hard rows last":    hardLast(randomBatch(n, d, many, 0, true)),
		"one negative":             randomBatch(n, d, 1, 90, false),
		"some queries of a memory": with(randomBatch(n, d, 700, 90, false), some, 0),
		"some queries, half":       with(randomBatch(n, d, 700, 0, true), some, 0.5),
	} {
		for _, c := range []struct {
			softmax bool
			z       float64 // -1 is found; with a small one the posteriors of noise are next to nothing
		}{{true, -1}, {false, -1}, {false, 1}} {
			softmax := c.softmax
			l, err := bank.NewLoss(softmax, 0.07, 5000)
			if err != nil {
				t.Fatal(err)
			}
			l.Z = c.z
			grad, scores := make([]float32, n*d), make([]float32, n*(b.K+1))
			grad[0] = 3 // what is there is added to
			got, err := l.Score(b, grad, scores)
			if err != nil {
				t.Fatal(err)
			}
			if z := constant(l, b); !softmax && c.z < 0 && math.Abs(l.Z-z) > 1e-5*z {
				t.Errorf("%s: Z %v, want %v", name, l.Z, z)
			}
			want := plainScore(l, b)
			want.grad[0] += 3
			far := func(got, want float64) bool { return !(math.Abs(got-want) <= 1e-5+2e-5*math.Abs(want)) }
			if far(got.Loss, want.loss) || far(got.Prob, want.prob) {
				t.Errorf("%s, %+v: loss %v and probability %v, want %v and %v", name, c, got.Loss, got.Prob, want.loss, want.prob)
			}
			for i, v := range grad {
				if far(float64(v), want.grad[i]) {
					t.Errorf("%s, %+v: gradient %d is %v, want %v", name, c, i, v, want.grad[i])
					break
				}
			}
			for i, v := range scores {
				if far(float64(v), want.scores[i]) {
					t.Errorf("%s, %+v: score %d is %v, want %v", name, c, i, v, want.scores[i])
					break
				}
			}
		}
	}
}

// A moving Z starts at the first batch's constant and then keeps ZDecay of what it was.
func TestMovingZ(t *testing.T) {
	l, err := bank.NewLoss(false, 0.1, 300)
	if err != nil {
		t.Fatal(err)
	}
	l.ZDecay = 0.75
	var want float64
	for i, k := range []int{5, 9, 40} {
		b := randomBatch(4, 8, k, 30, false)
		if z := constant(l, b); i == 0 {
			want = z
		} else {
			want = 0.75*want + 0.25*z
		}
		if _, err := l.Score(b, slices.Repeat([]float32{0}, len(b.Queries)), nil); err != nil {
			t.Fatal(err)
		}
		if math.Abs(l.Z-want) > 1e-5*want {
			t.Errorf("batch %d: Z %v, want %v", i, l.Z, want)
		}
	}
}
