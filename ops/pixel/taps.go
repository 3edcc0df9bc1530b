package pixel

import (
	"sync"
	"sync/atomic"
)

// precision is the number of fractional bits of Pillow's resampling weights.
const precision = 22

// taps are the weights of every output position along one axis: position o sums count[o] inputs from first[o].
type taps struct {
	first, count []int
	weight       []int32 // width each
	width        int
	groups       []group // for vectors, nil when four neighbours spread over more than sixteen inputs
	lanes        []int32 // weights of the groups: most·8 each, a vector a tap
	most         int     // largest count
}

// group is what acrossAsm knows of eight outputs: where the inputs of either four begin, and which of the sixteen there is an
// output's first.
type group struct {
	low, high int32
	mask      [32]byte
}

type tapsKey struct {
	in, out int
	mirror  bool
}

// Weights are kept, for crops repeat their sizes; when they are more than tapsRoom bytes all are forgotten.
var (
	tapsCache sync.Map // tapsKey → *taps
	tapsHeld  atomic.Int64
)

const tapsRoom = 32 << 20

func tapsFor(in, out int) *taps { return tapsOf(tapsKey{in, out, false}) }

func tapsOf(key tapsKey) *taps {
	if t, ok := tapsCache.Load(key); ok {
		return t.(*taps)
	}
	t := newTaps(key.in, key.out)
	if key.mirror {
		t.mirror()
	}
	t.vectorise()
	if tapsHeld.Add(int64(4*len(t.weight)+4*len(t.lanes)+16*len(t.first)+40*len(t.groups))) > tapsRoom {
		tapsCache.Clear()
		tapsHeld.Store(0)
	}
	tapsCache.Store(key, t)
	return t
}

// newTaps rounds every product, so that no machine fuses it with a sum and all have the same weights.
func newTaps(in, out int) *taps {
	scale := float64(in) / float64(out)
	support := max(scale, 1)
	t := &taps{width: int(2*support) + 3}
	t.weight = make([]int32, out*t.width)
	w := make([]float64, t.width)
	for o := range out {
		centre := float64((float64(o) + 0.5) * scale)
		lo := max(int(centre-support+0.5), 0)
		hi := min(int(centre+support+0.5), in)
		var sum float64
		for i := lo; i < hi; i++ {
			d := (float64(i) - centre + 0.5) / support
			if d < 0 {
				d = -d
			}
			w[i-lo] = max(0, 1-d)
			sum += w[i-lo]
		}
		for i := range hi - lo {
			t.weight[o*t.width+i] = int32(float64(w[i]/sum*(1<<precision)) + 0.5)
		}
		t.first, t.count = append(t.first, lo), append(t.count, hi-lo)
		t.most = max(t.most, hi-lo)
	}
	return t
}

// mirror turns the outputs round.
func (t *taps) mirror() {
	n := len(t.first)
	for a, b := 0, n-1; a < b; a, b = a+1, b-1 {
		t.first[a], t.first[b] = t.first[b], t.first[a]
		t.count[a], t.count[b] = t.count[b], t.count[a]
		wa, wb := t.weight[a*t.width:][:t.width], t.weight[b*t.width:][:t.width]
		for i := range wa {
			wa[i], wb[i] = wb[i], wa[i]
		}
	}
}

// vectorise makes the groups.
func (t *taps) vectorise() {
	n := len(t.first)
	for g := 0; g < n; g += 8 {
		var v group
		lanes := make([]int32, 8*t.most)
		for half, begin := range []*int32{&v.low, &v.high} {
			from, to := min(g+4*half, n-1), min(g+4*half+4, n)
			low, high := t.first[from], t.first[from]
			for o := from; o < to; o++ {
				low, high = min(low, t.first[o]), max(high, t.first[o])
			}
			if high-low > 15 {
				t.groups, t.lanes = nil, nil
				return
			}
			*begin = int32(low)
			for lane := range 4 {
				at := 16*half + 4*lane
				v.mask[at], v.mask[at+1], v.mask[at+2], v.mask[at+3] = 0, 0x80, 0x80, 0x80
				o := g + 4*half + lane
				if o >= n {
					continue
				}
				v.mask[at] = byte(t.first[o] - low)
				for i, k := range t.weight[o*t.width:][:t.count[o]] {
					lanes[8*i+4*half+lane] = k
				}
			}
		}
		t.groups, t.lanes = append(t.groups, v), append(t.lanes, lanes...)
	}
}
