package stages

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/pixel"
)

// PictureDecoder turns encoded bytes into an RGB picture.
type PictureDecoder interface {
	Decode(dst *pixel.Picture, data []byte) error
}

// RegionDecoder is a PictureDecoder that can leave out what nobody looks at: it decodes the box that choose picks of a picture of
// w×h, into planes of that box.
type RegionDecoder interface {
	Region(dst *pixel.Planar, data []byte, choose func(w, h int) pixel.Box) error
}

// Crops are the cut and scaled pictures of a batch, in numbered slots: sample b's crop c is Pictures[b·PerSample+c].
type Crops struct {
	Plan
	PerSample int // 0 is 1
	Labels    []int
	Pictures  []pixel.Picture
	Bad       []Substitution
	// Touch, with Decode.Leave, is what is left to be done to each picture.
	Touch []ops.Touch
	// Beside holds the views of Decode.Beside, normalised, [slots,C,H,W] each; Has says which slots have them.
	Beside [][]float32
	Has    [][]bool
}

// Decode reads, decodes, crops, scales, jitters and flips the pictures of a plan. Draws depend on (seed, epoch, sample), so
// any number of workers gives the same pixels. It is safe for concurrent use.
type Decode struct {
	Data    Dataset
	Decoder PictureDecoder
	Seed    uint64
	Size    int      // side of the crops, in pixels
	CropLow float64  // lower bound of a crop's share of the area, in [0,1]
	Rule    CropRule // how the box of a crop is drawn, one of CropRules; the crop of Centre needs none
	Crops   int      // crops a sample: 1, or 2 for MoCo
	Jitter  bool     // grayscale with probability 0.2, then colour jitter (0.4, 0.4, 0.4, 0.4)
	Centre  bool     // the evaluation crop: nothing is random
	Leave   bool     // jitter and flip to a device that renders: Crops.Touch says what they are
	// Beside are views in files of their own, which Planes decodes.
	Beside []Beside
	Planes PlaneDecoder
	// Budget is the largest share of samples that may be unreadable; above 0 it is one sample at least.
	Budget float64
	// OnBad, if set, is told of every substituted sample. It may be called from several goroutines.
	OnBad func(Substitution)

	pool sync.Pool // *Crops
	tool sync.Pool // *bench

	mu  sync.Mutex
	bad map[int]bool // samples that could not be read: every epoch meets them again
}

// bench is a worker's memory.
type bench struct {
	bytes   []byte
	picture pixel.Picture
	w, h    int         // of the whole picture
	boxes   []pixel.Box // of the crops
	region  pixel.Box   // that has been decoded: it holds all boxes
	planes  pixel.Planar
	scaled  pixel.Planar
	crop    pixel.Planar
	resizer pixel.Resizer
	beside  []sideBench
}

// Run renders the crops of one plan.
func (d *Decode) Run(ctx context.Context, p Plan) (*Crops, error) {
	switch {
	case d.Data == nil || d.Decoder == nil:
		return nil, errors.New("nothing to read or to decode with: set Data and Decoder")
	case d.Size < 1:
		return nil, fmt.Errorf("crops of %d×%d pixels: Size must be at least 1", d.Size, d.Size)
	case d.Rule == nil && !d.Centre:
		return nil, errors.New("nothing says how to crop: set Rule to one of CropRules, or Centre")
	}
	c, _ := d.pool.Get().(*Crops)
	if c == nil {
		c = &Crops{}
	}
	per := max(d.Crops, 1)
	c.Plan, c.PerSample, c.Bad = p, per, nil
	c.Labels = c.Labels[:0]
	pictures := len(p.Index) * per
	if p.Mix != nil {
		pictures = p.Mix.Decoded() * per
	}
	if cap(c.Pictures) < pictures {
		c.Pictures = append(c.Pictures[:cap(c.Pictures)], make([]pixel.Picture, pictures-cap(c.Pictures))...)
	}
	c.Pictures, c.Touch = c.Pictures[:pictures], c.Touch[:0]
	if d.Leave {
		c.Touch = append(c.Touch, make([]ops.Touch, pictures)...)
	}
	d.roomBeside(c, pictures/per)
	b, _ := d.tool.Get().(*bench)
	if b == nil {
		b = &bench{}
	}
	defer d.tool.Put(b)
	for slot, index := range p.Index {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		bad := len(c.Bad)
		if err := d.sample(ctx, b, c, slot, index, index); err != nil {
			return nil, err
		}
		shown := index
		if len(c.Bad) > bad { // the label is of what is seen
			shown = c.Bad[bad].By
		}
		c.Labels = append(c.Labels, d.Data.Label(shown))
	}
	if p.Mix == nil {
		return c, nil
	}
	slot := len(p.Index)
	for _, donor := range p.Mix.Donors {
		if donor.Copy >= 0 {
			continue
		}
		if err := d.sample(ctx, b, c, slot, donor.Index, donor.Key); err != nil {
			return nil, err
		}
		slot++
	}
	return c, nil
}

// Recycle takes crops back when nobody needs them any more.
func (d *Decode) Recycle(c *Crops) { d.pool.Put(c) }

// sample fills the slots of one sample, augmented by the draws of key. An unreadable picture is replaced by another, drawn from
// (seed, index) so that every run and epoch takes the same one.
func (d *Decode) sample(ctx context.Context, b *bench, c *Crops, slot, index, key int) error {
	choose := func(w, h int) pixel.Box { return d.choose(b, w, h, c.Epoch, key) }
	err := d.load(ctx, b, index, choose)
	if err != nil {
		if end := fatal(ctx, err); end != nil {
			return end
		}
		s := Substitution{Index: index, By: -1, Name: d.Data.Name(index), Err: err}
		r := Draw(d.Seed, 0, index, PurposeSubstitute)
		for range 20 {
			other := r.IntN(d.Data.Len())
			instead := d.load(ctx, b, other, choose)
			if instead == nil {
				s.By = other
				break
			}
			if end := fatal(ctx, instead); end != nil {
				return end
			}
		}
		c.Bad = append(c.Bad, s)
		if d.OnBad != nil {
			d.OnBad(s)
		}
		bad := d.count(index)
		if s.By < 0 {
			return fmt.Errorf("%s: %w; and twenty other images could not be read either", s.Name, err)
		}
		if err := TooManyBad(s.Name, err, bad, d.Budget, d.Data.Len()); err != nil {
			return err
		}
	}
	for k := range c.PerSample {
		d.render(b, c, slot, key, k)
	}
	return nil
}

// badAllowed is how many of n images a share of them lets be unreadable: one at least, unless it is 0, since a small data set has a bad
// image too.
func badAllowed(share float64, n int) int {
	if share == 0 {
		return 0
	}
	return max(1, int(share*float64(n)))
}

// TooManyBad is the error of the image that is the last of bad that could not be read, err being why, when they are more than a share
// of n images lets be unreadable; else nil.
func TooManyBad(name string, err error, bad int, share float64, n int) error {
	if bad <= badAllowed(share, n) {
		return nil
	}
	return fmt.Errorf("%s: %w: %s could not be read, more than --bad_samples %g of %d allows", name, err, images(bad), share, n)
}

// images is a number of them in words.
func images(n int) string {
	if n == 1 {
		return "1 image"
	}
	return fmt.Sprintf("%d images", n)
}

// count adds a sample to those that could not be read and returns how many there are.
func (d *Decode) count(index int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bad == nil {
		d.bad = map[int]bool{}
	}
	d.bad[index] = true
	return len(d.bad)
}

// unreachable is the error of a Dataset whose bytes could not be had, such as of a server that is down. It says nothing about the sample.
type unreachable interface {
	error
	Unreachable()
}

// fatal is what ends a run when a sample cannot be had, nil when another may take its place: not when the run is over, nor when the
// data set is not what it should be, nor when it cannot be reached, since another image would change the weights.
func fatal(ctx context.Context, err error) error {
	misfit, away := (*MisfitError)(nil), unreachable(nil)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &misfit):
		return err
	case errors.As(err, &away):
		return fmt.Errorf("%w: no other image takes its place: resume when the data can be reached again", err)
	}
	return nil
}

// stream is the random numbers of crop k of a sample: the second has streams of its own.
func (d *Decode) stream(epoch, key, k int, p Purpose) *Rand {
	return &Rand{Draw(d.Seed, epoch, key+k*d.Data.Len(), p)}
}

// choose draws the boxes of a sample's crops in a picture of w×h and returns the region that holds them.
func (d *Decode) choose(b *bench, w, h, epoch, key int) pixel.Box {
	b.w, b.h, b.boxes, b.region = w, h, b.boxes[:0], pixel.Box{W: w, H: h}
	if d.Centre {
		return b.region
	}
	for k := range max(d.Crops, 1) {
		b.boxes = append(b.boxes, d.Rule(d.stream(epoch, key, k, PurposeCrop).Rand, w, h, d.CropLow, 1))
	}
	b.region = b.boxes[0]
	for _, box := range b.boxes[1:] {
		b.region = b.region.Union(box)
	}
	return b.region
}

// load decodes the region of a sample that choose picks.
func (d *Decode) load(ctx context.Context, b *bench, index int, choose func(w, h int) pixel.Box) error {
	data, err := d.Data.Read(ctx, index, b.bytes)
	if err != nil {
		return err
	}
	if cap(data) > cap(b.bytes) {
		b.bytes = data
	}
	if r, ok := d.Decoder.(RegionDecoder); ok {
		if err := r.Region(&b.planes, data, choose); err != nil {
			return err
		}
	} else {
		if err := d.Decoder.Decode(&b.picture, data); err != nil {
			return err
		}
		if b.picture.W < 1 || b.picture.H < 1 {
			return errors.New("the picture has no pixels")
		}
		b.planes.Split(&b.picture, choose(b.picture.W, b.picture.H))
	}
	return d.loadBeside(ctx, b, index)
}

// render makes crop k of the loaded picture in a slot.
func (d *Decode) render(b *bench, c *Crops, slot, key, k int) {
	dst := &c.Pictures[slot*c.PerSample+k]
	if d.Centre {
		w, h, box := centre(b.w, b.h, d.Size)
		b.resizer.Scale(&b.scaled, &b.planes, b.region, w, h, false)
		b.resizer.Scale(&b.crop, &b.scaled, box, d.Size, d.Size, false)
		b.crop.Join(dst)
		d.placeBeside(b, c, slot, w, h, box, false)
		return
	}
	box := b.boxes[k]
	inside := pixel.Box{X: box.X - b.region.X, Y: box.Y - b.region.Y, W: box.W, H: box.H}
	mirror := d.stream(c.Epoch, key, k, PurposeFlip).Float64() < 0.5
	// Jitter looks at pixels one by one, or at all of them: it may come after the flip.
	b.resizer.Scale(&b.crop, &b.planes, inside, d.Size, d.Size, mirror && !d.Leave)
	if d.Jitter {
		j := drawJitter(d.stream(c.Epoch, key, k, PurposeJitter))
		if d.Leave {
			c.Touch[slot*c.PerSample+k].Jitter = (*ops.Jitter)(&j)
		} else {
			jitter((*ops.Jitter)(&j), &b.crop)
		}
	}
	if d.Leave {
		c.Touch[slot*c.PerSample+k].Mirror = mirror
	}
	b.crop.Join(dst)
	if k == 0 {
		d.placeBeside(b, c, slot, 0, 0, box, mirror)
	}
}

// jitter applies grayscale and colour jitter.
func jitter(j *ops.Jitter, p *pixel.Planar) {
	if j.Gray {
		p.Grayscale()
	}
	for _, part := range j.Order {
		switch part {
		case 0:
			p.Brightness(j.Factor[0])
		case 1:
			p.Contrast(j.Factor[1])
		case 2:
			p.Saturation(j.Factor[2])
		case 3:
			p.Hue(j.Hue)
		}
	}
}
