//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda/driver"
)

var _ ops.PixelProgram = (*program)(nil)

// ForwardPixels implements ops.PixelProgram.
func (pr *program) ForwardPixels(p ops.Pictures, r *ops.Rendering) (ops.Tape, error) {
	in := pr.Graph.Nodes[0].Out
	area := in.H * in.W
	m, err := composition(p, area)
	if err != nil {
		return nil, err
	}
	if p.N < 1 || p.N > pr.Options.Batch || len(r.Channels) != in.C || in.C > 3 {
		return nil, fmt.Errorf("ops: forward of %d pictures and %d channels: the program takes 1 to %d samples of %v", p.N, len(r.Channels), pr.Options.Batch, in)
	}
	return pr.start(p.N, func(t *tape) error {
		table, err := pr.d.rendering(r)
		if err != nil {
			return err
		}
		s := pr.ring[pr.turn]
		pr.turn ^= 1
		parts := &parcel{}
		ahead, _ := p.Sent.(*sent)
		rgb := int64(-1)
		if ahead == nil {
			rgb = parts.add(p.RGB)
		}
		touch := parts.add(touches(p.Touch))
		slots, groups, acts := parts.add(intBytes(m.slots)), parts.add(intBytes(m.groups)), parts.add(intBytes(m.acts))
		send := pr.d.send // pictures beside the pass before, a few numbers not
		if ahead != nil {
			send = pr.d.hand
		}
		done, err := pr.d.deliver(s, parts, send, "the pictures of a batch")
		if err != nil {
			return err
		}
		at := func(offset int64) cu.DevicePtr { return partOf(s, offset) }
		pictures := at(rgb)
		if ahead != nil {
			pictures = ahead.s.dev
			if err := ahead.arrive(); err != nil {
				return err
			}
		}
		defer pr.d.span("render")()
		if m.mixes {
			if err := pr.d.grow(&pr.d.planes, int64(12*area)*int64(len(m.slots)/2), "the pictures of a mixture"); err != nil {
				return err
			}
		}
		if jitters(p.Touch) {
			if err := pr.d.launch("touch_means", driver.Dim{len(p.Touch), 1, 1}, driver.Dim{256, 1, 1}, pr.d.args().Ptr(pictures).Ptr(at(touch)).Int(area)); err != nil {
				return err
			}
		}
		var c [3]int
		copy(c[:], r.Channels)
		if err := pr.d.each("render", int64(area), len(m.groups)/2-1, pr.d.args().Ptr(pictures).Ptr(at(touch)).Ptr(at(slots)).Ptr(at(groups)).Ptr(at(acts)).
			Ptr(table).Ptr(pr.d.planes.p).Ptr(t.value(0)).Int(area).Int(in.W).Int(padded(in.C)).Int(flag(r.Lab != nil)).Int(in.C).Int(c[0]).Int(c[1]).Int(c[2])); err != nil {
			return err
		}
		if ahead != nil {
			if err := ahead.s.used.Record(pr.d.compute); err != nil {
				return err
			}
		}
		return done()
	})
}

// composed is a batch as the kernel takes it: slots in groups that acts connect, as pairs of a picture and a sample of the pass;
// where each group's slots and acts begin; acts of ten words.
type composed struct {
	slots, groups, acts []int32
	mixes               bool // a group has several slots
}

// composition sorts slots and acts into groups, which may be made at the same time.
func composition(p ops.Pictures, area int) (m composed, err error) {
	n := p.N
	if p.Slots != nil {
		n = len(p.Slots)
	}
	pictures := len(p.RGB) / (3 * area)
	if n < p.N || len(p.RGB) != 3*area*pictures || (p.Touch != nil && len(p.Touch) != pictures) || (p.Order != nil && len(p.Order) != p.N) {
		return m, fmt.Errorf("ops: %d samples in %d slots of %d pictures, %d touched, %d in order, %d bytes of %d pixels each", p.N, n, pictures, len(p.Touch), len(p.Order), len(p.RGB), area)
	}
	sample := make([]int, n)
	for i := range sample {
		sample[i] = -1
		if i < p.N && p.Order == nil {
			sample[i] = i
		}
	}
	for i, slot := range p.Order {
		if slot < 0 || slot >= p.N {
			return m, fmt.Errorf("ops: sample %d of a pass is slot %d of %d", i, slot, p.N)
		}
		sample[slot] = i
	}
	root := make([]int, n) // of the group of a slot
	for i := range root {
		root[i] = i
	}
	find := func(i int) int {
		for root[i] != i {
			root[i] = root[root[i]]
			i = root[i]
		}
		return i
	}
	for _, a := range p.Acts {
		if a.To < 0 || a.To >= n || a.From >= n || (a.From < 0 && a.Kind != ops.Fill) {
			return m, fmt.Errorf("ops: act %+v on %d slots", a, n)
		}
		if a.From >= 0 {
			root[find(a.To)] = find(a.From)
		}
	}
	slots, acts := make([][]int, n), make([][]ops.Act, n)
	for i := range n {
		r := find(i)
		slots[r] = append(slots[r], i)
	}
	for _, a := range p.Acts {
		r := find(a.To)
		acts[r] = append(acts[r], a)
	}
	place := make([]int32, n) // of a slot in the kernel's order
	for r := range n {
		if len(slots[r]) == 0 {
			continue
		}
		m.mixes = m.mixes || len(slots[r]) > 1
		m.groups = append(m.groups, int32(len(m.slots)/2), int32(len(m.acts)/10))
		for _, s := range slots[r] {
			place[s] = int32(len(m.slots) / 2)
			picture := s
			if p.Slots != nil {
				picture = p.Slots[s]
			}
			if picture < 0 || picture >= pictures {
				return m, fmt.Errorf("ops: slot %d shows picture %d of %d", s, picture, pictures)
			}
			m.slots = append(m.slots, int32(picture), int32(sample[s]))
		}
		for _, a := range acts[r] {
			from := place[a.To]
			if a.From >= 0 {
				from = place[a.From]
			}
			m.acts = append(m.acts, int32(a.Kind), place[a.To], from, bits(float32(a.Lambda)), bits(float32(1-a.Lambda)), bits(a.Value),
				int32(a.Box.Top), int32(a.Box.Bottom), int32(a.Box.Left), int32(a.Box.Right))
		}
	}
	m.groups = append(m.groups, int32(len(m.slots)/2), int32(len(m.acts)/10))
	return m, nil
}

func bits(v float32) int32 { return int32(math.Float32bits(v)) }

// touches are eight words a picture, nil for nil.
func touches(list []ops.Touch) []byte {
	if list == nil {
		return nil
	}
	words := make([]int32, 8*len(list))
	for i, t := range list {
		w := words[8*i:]
		w[0] = int32(flag(t.Mirror))
		j := t.Jitter
		if j == nil {
			continue
		}
		w[0] |= int32(2*flag(j.Gray) + 4)
		for k, part := range j.Order {
			w[1] |= int32(part) << (8 * k)
		}
		for k, f := range j.Factor {
			w[2+k] = bits(float32(f))
		}
		w[5] = int32(uint8(int(j.Hue * 255)))
	}
	return intBytes(words)
}

func jitters(list []ops.Touch) bool {
	for _, t := range list {
		if t.Jitter != nil {
			return true
		}
	}
	return false
}

// rendering is the device's copy of what a rendering is made of.
func (d *Device) rendering(r *ops.Rendering) (cu.DevicePtr, error) {
	if p, ok := d.renderings[r]; ok {
		return p, nil
	}
	table := make([]float32, 32)
	for k, row := range r.Affine {
		copy(table[4*k:], row[:])
	}
	if l := r.Lab; l != nil {
		for k, row := range l.Matrix {
			copy(table[4*k:], row[:])
		}
		copy(table[12:], l.Scale[:])
		copy(table[15:], l.Shift[:])
		table = append(table, l.Light[:]...)
	}
	p, err := d.alloc(int64(4*len(table)), "colour tables", lowerBatch)
	if err != nil {
		return 0, err
	}
	d.renderings[r] = p
	return p, d.put(p, table)
}

func intBytes(v []int32) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), 4*len(v))
}
