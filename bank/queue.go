package bank

import "fmt"

// Queue keeps the K most recent keys, oldest overwritten first (He et al., arXiv:1911.05722).
type Queue struct {
	K, D int
	// Pointer is the row that the next key goes to.
	Pointer int

	rows []float32
}

// NewQueue makes a queue of random rows, as NewMemory does.
func NewQueue(k, d int, seed uint64) (*Queue, error) {
	if k < 1 || d < 1 {
		return nil, fmt.Errorf("bank: a queue of %d rows of %d: both must be positive", k, d)
	}
	q := &Queue{K: k, D: d, rows: newRows(k * d)}
	noise(q.rows, d, seed)
	return q, nil
}

// Rows is the queue itself in the order it lies in memory, [K,D].
func (q *Queue) Rows() []float32 { return q.rows }

// Push enqueues keys [n,D] in order. K need not be a multiple of n; of more than K keys the last K stay.
func (q *Queue) Push(keys []float32) {
	for at := 0; at < len(keys); at += q.D {
		copy(q.rows[q.Pointer*q.D:][:q.D], keys[at:])
		q.Pointer = (q.Pointer + 1) % q.K
	}
}
