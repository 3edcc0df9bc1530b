package stages

import (
	"fmt"

	"github.com/contraflow/contraflow/ops"
)

// sparse is encode's memory for views that not every sample of a batch has. A tower sees the samples that have its view and no
// others, so that blanks do not enter its batch statistics.
type sparse struct {
	rows  [][]int // per pass, the samples that were encoded; nil means all
	in    []float32
	out   [][]float32 // per pass, [B,F] with zero rows for samples without the view
	grads [][]float32
}

// some lists the samples that have a view, nil when all do.
func (b *Batch) some(view int) []int {
	if b.Present == nil || b.Present[view] == nil {
		return nil
	}
	rows := []int{}
	for i, has := range b.Present[view] {
		if has {
			rows = append(rows, i)
		}
	}
	if len(rows) == len(b.Index) {
		return nil
	}
	return rows
}

// forwardSome is forward of the samples that have the view. Batch statistics need two: a lone one is left out as if it
// lacked the view too, and there is no tape.
func (e *Encode) forwardSome(i int, p Pass, b *Batch, rows []int) (err error) {
	t := &e.Towers[p.Tower]
	if p.Shuffle || t.Follows >= 0 {
		return fmt.Errorf("view %d: a momentum encoder needs the view of every sample", p.View)
	}
	s := &e.sparse
	for len(s.rows) < len(e.Passes) {
		s.rows, s.out, s.grads = append(s.rows, nil), append(s.out, nil), append(s.grads, nil)
	}
	n, d := len(b.Index), t.Program.OutputShape(0).Len()
	s.out[i] = grow(s.out[i], n*d)
	clear(s.out[i])
	s.rows[i] = rows
	if len(rows) < 2 {
		for _, r := range rows {
			b.Present[p.View][r] = false
		}
		s.rows[i] = rows[:0]
		return nil
	}
	size := len(b.Views[p.View]) / n
	s.in = grow(s.in, len(rows)*size)
	for k, r := range rows {
		copy(s.in[k*size:][:size], b.Views[p.View][r*size:])
	}
	e.tapes[i], err = t.Program.Forward(s.in, len(rows))
	return err
}

// partial says that pass i encoded some samples only.
func (s *sparse) partial(i int) bool { return i < len(s.rows) && s.rows[i] != nil }

// outputs are those of a partial pass, with zero rows for samples without the view.
func (s *sparse) outputs(i int, tape ops.Tape) []float32 {
	for k, r := range s.rows[i] {
		out := tape.Output(0)
		d := len(out) / len(s.rows[i])
		copy(s.out[i][r*d:][:d], out[k*d:])
	}
	return s.out[i]
}

// all says that pass i encoded every sample.
func (s *sparse) all(i int) {
	if i < len(s.rows) {
		s.rows[i] = nil
	}
}

// gather picks the gradients of the samples that pass i encoded.
func (s *sparse) gather(i int, d []float32, b *Batch) []float32 {
	if i >= len(s.rows) || s.rows[i] == nil {
		return d
	}
	rows := s.rows[i]
	s.rows[i] = nil
	size := len(d) / len(b.Index)
	s.grads[i] = grow(s.grads[i], len(rows)*size)
	for k, r := range rows {
		copy(s.grads[i][k*size:][:size], d[r*size:])
	}
	return s.grads[i]
}
