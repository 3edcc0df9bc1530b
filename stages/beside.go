package stages

import (
	"context"
	"fmt"
	"slices"

	"github.com/contraflow/contraflow/ops/pixel"
)

// Beside is a view of every sample that a file of its own holds, beside the picture: depth, surface normals. It is cut,
// scaled and mirrored as the picture is, and normalised to [-1,1].
type Beside struct {
	Name     string
	Channels int
	// Top is the value that becomes 1, of a full range of [0,1]; the value 0 becomes -1.
	Top   float64
	Files BesideFiles
}

// BesideFiles are the files of one view. Implementations are safe for concurrent use.
type BesideFiles interface {
	// Path is where sample i's file should be, for messages.
	Path(i int) string
	// Read returns the encoded bytes of sample i's file, nil when the sample has none.
	Read(ctx context.Context, i int) ([]byte, error)
}

// PlaneDecoder decodes what lies beside pictures.
type PlaneDecoder interface {
	DecodePlanes(dst *pixel.Planes, data []byte) error
}

// MisfitError is a file beside a picture that does not fit it. It ends a run: the data set is not what it should be.
type MisfitError struct{ Path, What string }

func (e *MisfitError) Error() string { return e.Path + ": " + e.What }

// sideBench is a worker's memory for one view.
type sideBench struct {
	planes, scaled pixel.Planes
	has            bool
}

// Load decodes sample i's file for a picture of w×h. ok is false when the sample has none.
func (v *Beside) Load(ctx context.Context, d PlaneDecoder, dst *pixel.Planes, i, w, h int) (ok bool, err error) {
	data, err := v.Files.Read(ctx, i)
	if err != nil || data == nil {
		return false, err
	}
	if err := d.DecodePlanes(dst, data); err != nil {
		return false, fmt.Errorf("%s: %w", v.Files.Path(i), err)
	}
	switch {
	case dst.W != w || dst.H != h:
		return false, &MisfitError{v.Files.Path(i), fmt.Sprintf("it is %d×%d pixels, its picture %d×%d: a view of --view_dirs has the size of the picture", dst.W, dst.H, w, h)}
	case dst.C != v.Channels:
		return false, &MisfitError{v.Files.Path(i), fmt.Sprintf("it has %d channels, other files of view %s have %d: grey is one, colour three", dst.C, v.Name, v.Channels)}
	}
	return true, nil
}

// loadBeside reads what lies beside the loaded picture.
func (d *Decode) loadBeside(ctx context.Context, b *bench, index int) (err error) {
	for len(b.beside) < len(d.Beside) {
		b.beside = append(b.beside, sideBench{})
	}
	for v := range d.Beside {
		s := &b.beside[v]
		if s.has, err = d.Beside[v].Load(ctx, d.Planes, &s.planes, index, b.w, b.h); err != nil {
			return err
		}
	}
	return nil
}

// placeBeside writes the views beside the picture into a slot: whole scaled to w×h unless that is 0, box of it scaled to the crop,
// mirrored.
func (d *Decode) placeBeside(b *bench, c *Crops, slot, w, h int, box pixel.Box, mirror bool) {
	for v := range d.Beside {
		s := &b.beside[v]
		c.Has[v][slot] = s.has
		n := d.Beside[v].Channels * d.Size * d.Size
		out := c.Beside[v][slot*n:][:n]
		if !s.has {
			clear(out)
			continue
		}
		from := &s.planes
		if w > 0 {
			from.Resize(&s.scaled, pixel.Box{W: from.W, H: from.H}, w, h)
			*from, s.scaled = s.scaled, *from
		}
		from.Resize(&s.scaled, box, d.Size, d.Size)
		if mirror {
			s.scaled.FlipH()
		}
		scale := float32(2 / d.Beside[v].Top)
		for i, x := range s.scaled.Pix {
			out[i] = x*scale - 1
		}
	}
}

// roomBeside gives the crops room for the views beside pictures.
func (d *Decode) roomBeside(c *Crops, slots int) {
	c.Beside, c.Has = c.Beside[:0], c.Has[:0]
	for _, v := range d.Beside {
		c.Beside = append(c.Beside, make([]float32, slots*v.Channels*d.Size*d.Size))
		c.Has = append(c.Has, make([]bool, slots))
	}
}

// ViewFunc is a view that a function of the user computes from a sample's crop.
type ViewFunc struct {
	Name     string
	Channels int
	// Render fills dst [Channels,H,W] from the crop, normalised to about [-1,1]. The crop must not be changed.
	Render func(dst []float32, p *pixel.Picture)
}

// more adds the views that are not made of colour channels: those beside the n decoded pictures, then the functions'.
func (v *Views) more(b *Batch, c *Crops, slots, n int) {
	first, area := len(b.Views), c.Pictures[0].H*c.Pictures[0].W
	add := func(channels int) []float32 {
		i := len(b.Views)
		if i < cap(b.Views) {
			b.Views = b.Views[:i+1]
		} else {
			b.Views = append(b.Views, nil)
		}
		b.Shapes = append(b.Shapes, [3]int{channels, c.Pictures[0].H, c.Pictures[0].W})
		b.Views[i] = grow(b.Views[i], slots*channels*area)
		return b.Views[i]
	}
	hosts, all := true, true
	for i, planes := range c.Beside {
		copy(add(len(planes)/(len(c.Has[i])*area)), planes)
		hosts = hosts && !slices.Contains(c.Has[i][:len(b.Labels)], false)
		all = all && !slices.Contains(c.Has[i], false)
	}
	for _, f := range v.Functions {
		out := add(f.Channels)
		size := f.Channels * area
		for s := range n {
			f.Render(out[s*size:][:size], &c.Pictures[s*max(c.PerSample, 1)])
		}
	}
	if !all {
		b.has = make([][]bool, len(b.Views))
		copy(b.has[first:], c.Has)
	}
	if hosts {
		return
	}
	b.Present = make([][]bool, len(b.Views))
	for i, has := range c.Has {
		b.Present[first+i] = slices.Clone(has[:len(b.Labels)])
	}
}
