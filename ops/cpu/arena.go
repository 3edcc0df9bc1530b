package cpu

// slabs are the sizes of buffers that values use one after another.
type slabs struct {
	sizes []int
	idle  []int // nobody uses
}

// take is the smallest idle slab that holds n floats, or the largest one, grown, or a new one.
func (s *slabs) take(n int) int {
	best := -1
	for k, i := range s.idle {
		if s.sizes[i] >= n && (best < 0 || s.sizes[i] < s.sizes[s.idle[best]]) {
			best = k
		}
	}
	if best < 0 {
		for k, i := range s.idle {
			if best < 0 || s.sizes[i] > s.sizes[s.idle[best]] {
				best = k
			}
		}
	}
	if best < 0 {
		return s.own(n)
	}
	i := s.idle[best]
	s.idle = append(s.idle[:best], s.idle[best+1:]...)
	s.sizes[i] = max(s.sizes[i], n)
	return i
}

// own is a new slab.
func (s *slabs) own(n int) int {
	s.sizes = append(s.sizes, n)
	return len(s.sizes) - 1
}

func (s *slabs) bytes() (n int64) {
	for _, size := range s.sizes {
		n += int64(4 * size)
	}
	return n
}

// line is the floats of a cache line.
const line = 16

// newArena cuts one zeroed allocation into slabs that begin on cache lines.
func newArena(sizes []int) [][]float32 {
	total := 0
	for _, n := range sizes {
		total += (n + line - 1) / line * line
	}
	memory, out := aligned(total), make([][]float32, len(sizes))
	for i, n := range sizes {
		out[i] = memory[:n:n]
		memory = memory[(n+line-1)/line*line:]
	}
	return out
}
