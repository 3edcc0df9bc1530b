package bank

import (
	"fmt"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cpu"
)

// Queue keeps the K most recent keys, oldest overwritten first (He et al., arXiv:1911.05722).
type Queue struct {
	K, D int
	// Pointer is the row that the next key goes to.
	Pointer int

	rows   []float32
	device ops.Bank // where the rows are, if not here
}

// NewQueue makes a queue of random rows, as NewMemory does.
func NewQueue(k, d int, seed uint64) (*Queue, error) {
	if k < 1 || d < 1 {
		return nil, fmt.Errorf("bank: a queue of %d rows of %d: both must be positive", k, d)
	}
	q := &Queue{K: k, D: d, rows: cpu.NewRows(k * d)}
	noise(q.rows, d, seed)
	return q, nil
}

// Rows is the queue itself in the order it lies in memory, [K,D], or a copy of what the device holds. Only a device can fail.
func (q *Queue) Rows() ([]float32, error) { return readRows(q.device, q.rows) }

// Push enqueues keys [n,D] in order. K need not be a multiple of n; of more than K keys the last K stay. Only whole rows are
// accepted. A device takes keys as they are until the next result or Rows, which tells of a failure.
func (q *Queue) Push(keys []float32) error {
	if len(keys)%q.D != 0 {
		return fmt.Errorf("bank: %d values pushed: rows have %d", len(keys), q.D)
	}
	if q.device != nil {
		return q.put(keys)
	}
	for at := 0; at < len(keys); at += q.D {
		copy(q.rows[q.Pointer*q.D:][:q.D], keys[at:])
		q.Pointer = (q.Pointer + 1) % q.K
	}
	return nil
}

// put is Push on the device, in runs that do not cross the end.
func (q *Queue) put(keys []float32) error {
	for len(keys) > 0 {
		n := min(len(keys)/q.D, q.K-q.Pointer)
		if err := q.device.Put(q.Pointer, keys[:n*q.D]); err != nil {
			return err
		}
		q.Pointer = (q.Pointer + n) % q.K
		keys = keys[n*q.D:]
	}
	return nil
}
