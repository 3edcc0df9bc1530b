package ops

// Banker is a Device that can hold banks of rows and score queries against them, next to the networks.
type Banker interface {
	// NewBank makes n rows of d values, all zero.
	NewBank(n, d int) (Bank, error)
}

// Bank is rows [N,D] on a device. It is safe for use by another goroutine than its device's owner. Score, Update and Put only begin
// and take effect in order: what they are given stays unchanged until a result or a Read has returned, which also tells of their
// mistakes.
type Bank interface {
	Read(rows []float32) error
	Write(rows []float32) error

	// Score begins to compare every query with its positive and K negatives, with the rows as they are now. What it returns
	// waits for the result and adds the gradient of the queries to grad [B,D]; it is called once.
	Score(s Scoring, grad []float32) (result func() (Scored, error))

	// Update moves rows ids towards x [len(ids),D]: row = keep·row + take·x, scaled to length one; a zero result leaves the
	// row. Entries of one id follow each other. present, unless nil, says which entries count.
	Update(ids []int32, x []float32, present []bool, keep, take float32) error

	// Put overwrites rows from at on.
	Put(at int, rows []float32) error
}

// LossMode says what a Scoring computes.
type LossMode int

// ScoreSums only sums exp(s/T); ScoreNCE and ScoreSoftmax are the losses of package bank.
const (
	ScoreSums LossMode = iota
	ScoreNCE
	ScoreSoftmax
)

// Scoring is one direction of a contrast. Columns of a query are its positive, then K negatives.
type Scoring struct {
	Queries []float32 // [B,D]
	K       int
	// One of: Index [B,K+1], rows of the bank; IDs, the positives' rows, with negatives drawn by the generator PCG(Seed, Stream) as
	// (x>>32)·N>>32; or Positives [B,D], rows 0 … K-1 being the negatives of every query.
	Index        []int32
	IDs          []int32
	Seed, Stream uint64
	Positives    []float32

	Present []bool // queries that count; nil means all
	Mode    LossMode
	T, Z    float64
	C0      float64 // NCE: K over the number of images
	Factor  float64 // of the gradient
}

// Scored is what every query gives; zero for one that does not count.
type Scored struct {
	Loss  []float64 // nats
	First []float64 // similarity of the positive
	Sum   []float64 // Σ exp(s/T), scaled by the largest for softmax
}
