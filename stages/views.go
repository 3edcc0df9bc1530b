package stages

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/pixel"
)

// Views turns crops into the views of a batch: a colour space, normalised, its channels split. It is safe for concurrent
// use.
type Views struct {
	Space pixel.Space
	// Split is, for every view, the channels it has; nil makes one view of all channels for each crop of a sample.
	Split [][]int
	// Functions add views of the user's own.
	Functions []ViewFunc
	// Raw leaves rendering, and any mixture, to the device: batches hold pixels. Only views of Split, without functions, can be raw.
	Raw bool
	// Recycle, if set, takes the crops back.
	Recycle func(*Crops)

	pool sync.Pool // *Batch
}

// Run renders one batch.
func (v *Views) Run(_ context.Context, c *Crops) (*Batch, error) {
	if err := v.check(c); err != nil {
		return nil, err
	}
	b, _ := v.pool.Get().(*Batch)
	if b == nil {
		b = &Batch{}
	}
	per := max(c.PerSample, 1)
	n := len(c.Pictures) / per
	slots := n
	if c.Mix != nil {
		slots = c.Mix.Slots()
	}
	b.Plan, b.Bad, b.Lambda = c.Plan, c.Bad, 0
	b.Labels = append(b.Labels[:0], c.Labels...)
	b.Present, b.has = nil, nil
	b.release = func() { v.pool.Put(b) }
	split, crops := v.Split, 1
	if split == nil {
		crops = per
		for range crops {
			split = append(split, []int{0, 1, 2})
		}
	}
	h, w := c.Pictures[0].H, c.Pictures[0].W
	b.Views = b.Views[:cap(b.Views)]
	for len(b.Views) < len(split) {
		b.Views = append(b.Views, nil)
	}
	b.Views, b.Shapes = b.Views[:len(split)], b.Shapes[:0]
	if v.Raw {
		v.pixels(b, c, split, crops)
		if v.Recycle != nil {
			v.Recycle(c)
		}
		return b, nil
	}
	b.Pixels, b.Touch = nil, nil
	for i, channels := range split {
		b.Shapes = append(b.Shapes, [3]int{len(channels), h, w})
		b.Views[i] = grow(b.Views[i], slots*len(channels)*h*w)
	}
	for s := range n {
		for k := range crops {
			var planes [3][]float32
			for i, channels := range split {
				if v.Split == nil && i != k {
					continue
				}
				size := len(channels) * h * w
				out := b.Views[i][s*size:][:size]
				for j, ch := range channels {
					planes[ch] = out[j*h*w:][:h*w]
				}
			}
			v.Space.Render(planes, &c.Pictures[s*per+k])
		}
	}
	v.more(b, c, slots, n)
	if v.Recycle != nil {
		v.Recycle(c)
	}
	return b, nil
}

// pixels puts the pictures of a batch one behind the other, once for every crop; views of one crop share them.
func (v *Views) pixels(b *Batch, c *Crops, split [][]int, crops int) {
	h, w := c.Pictures[0].H, c.Pictures[0].W
	b.Views, b.Pixels = b.Views[:0], b.Pixels[:cap(b.Pixels)]
	for len(b.Pixels) < len(split) {
		b.Pixels = append(b.Pixels, nil)
	}
	b.Pixels, b.Touch = b.Pixels[:len(split)], nil
	if len(c.Touch) > 0 {
		b.Touch = make([][]ops.Touch, len(split))
	}
	per := max(c.PerSample, 1)
	n, size := len(c.Pictures)/per, 3*h*w
	for i, channels := range split {
		b.Shapes = append(b.Shapes, [3]int{len(channels), h, w})
		if i >= crops { // another view of the only crop
			b.Pixels[i] = b.Pixels[0]
			if b.Touch != nil {
				b.Touch[i] = b.Touch[0]
			}
			continue
		}
		b.Pixels[i] = slices.Grow(b.Pixels[i][:0], n*size)
		for s := range n {
			b.Pixels[i] = append(b.Pixels[i], c.Pictures[s*per+i].Pix...)
			if b.Touch != nil {
				b.Touch[i] = append(b.Touch[i], c.Touch[s*per+i])
			}
		}
	}
}

// Rendered is what the device makes of a batch of pixels, made by the host: for messages and tests. Other batches have it.
func (v *Views) Rendered(b *Batch) [][]float32 {
	if b.Pixels == nil {
		return b.Views
	}
	var out [][]float32
	for i, s := range b.Shapes {
		channels, h, w := []int{0, 1, 2}, s[1], s[2]
		if v.Split != nil {
			channels = v.Split[i]
		}
		slots := make([]int, len(b.Index))
		for k := range slots {
			slots[k] = k
		}
		if b.Mix != nil {
			slots = b.Mix.pictures()
		}
		size := len(channels) * h * w
		view := make([]float32, len(slots)*size)
		for slot, p := range slots {
			picture := pixel.Picture{W: w, H: h, Pix: slices.Clone(b.Pixels[i][p*3*h*w:][:3*h*w])}
			if b.Touch != nil {
				touch(&picture, b.Touch[i][p])
			}
			var planes [3][]float32
			for j, ch := range channels {
				planes[ch] = view[slot*size+j*h*w:][:h*w]
			}
			v.Space.Render(planes, &picture)
		}
		if b.Mix != nil {
			b.Mix.Apply(view, len(channels), h, w)
		}
		out = append(out, view[:len(b.Index)*size])
	}
	return out
}

// touch does to a picture what was left to the device.
func touch(p *pixel.Picture, t ops.Touch) {
	if t.Mirror {
		p.FlipH()
	}
	if t.Jitter != nil {
		var planes pixel.Planar
		planes.Split(p, pixel.Box{W: p.W, H: p.H})
		jitter(t.Jitter, &planes)
		planes.Join(p)
	}
}

// DefaultSplit is the reference's: the first channel, and the other two.
var DefaultSplit = [][]int{{0}, {1, 2}}

// ParseSplit reads a channel split such as "0|1,2" or, in the letters of a space, "L|ab", "Y|Cb|Cr". Every channel belongs to
// one view at most.
func ParseSplit(text string, space pixel.Space) ([][]int, error) {
	if text == "" {
		return DefaultSplit, nil
	}
	letters := channelLetters(space.Name)
	var out [][]int
	used := map[int]bool{}
	for _, part := range strings.Split(text, "|") {
		var view []int
		for rest := strings.Trim(strings.TrimSpace(part), ","); rest != ""; rest = strings.TrimLeft(rest, ", ") {
			found, at := -1, rest
			for ch, name := range letters {
				if after, ok := strings.CutPrefix(rest, name); ok {
					found, rest = ch, after
					break
				}
				if after, ok := strings.CutPrefix(rest, strconv.Itoa(ch)); ok {
					found, rest = ch, after
					break
				}
			}
			if found < 0 || used[found] {
				return nil, fmt.Errorf("--views %q: at %q: want views separated by |, each made of channels of %s (%s), no channel twice",
					text, at, space.Name, strings.Join(letters, ", "))
			}
			used[found] = true
			view = append(view, found)
		}
		if len(view) == 0 {
			return nil, fmt.Errorf("--views %q: a view without channels", text)
		}
		out = append(out, view)
	}
	return out, nil
}

// channelLetters splits a space's name into its channels: "Lab" into L, a, b; "YCbCr" into Y, Cb, Cr.
func channelLetters(space string) []string {
	if space == "CIERGB" {
		space = "RGB"
	}
	var out []string
	for i, r := range space {
		second := i > 0 && space[0] == 'Y' && r >= 'a' && r <= 'z'
		if second {
			out[len(out)-1] += string(r)
			continue
		}
		out = append(out, string(r))
	}
	return out
}
