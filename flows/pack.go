package flows

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	stdjpeg "image/jpeg"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/io/shard"
	"github.com/contraflow/contraflow/io/stl10"
	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

// PackOptions say what becomes of images on their way into shards.
type PackOptions struct {
	Folder     string   `json:"-"` // as --data_folder
	Out        string   `json:"-"`
	Splits     []string `json:"-"` // empty is all that there are
	ClassList  string   `json:"class_list,omitempty"`
	ShortSide  int      `json:"short_side,omitempty"` // longer short sides are scaled to it; 0 scales nothing
	Quality    int      `json:"quality,omitempty"`    // of the JPEG files that scaling writes
	Raw        bool     `json:"raw,omitempty"`        // decoded pixels instead of files
	ShardMB    int      `json:"-"`                    // size of a shard in MiB
	Decoder    string   `json:"-"`
	Workers    int      `json:"-"` // 0 is one a core
	BadSamples float64  `json:"-"` // largest share of unreadable images, which are left out
}

// DefaultPack keeps files as they are.
var DefaultPack = PackOptions{Quality: 92, ShardMB: 256, Decoder: "auto", BadSamples: 0.001}

// Check reports the first setting that makes no sense.
func (o PackOptions) Check() error {
	switch {
	case o.Folder == "":
		return errors.New("--data_folder is missing: give the images to pack")
	case o.Out == "":
		return errors.New("--out is missing: give the folder to write")
	case o.ShortSide < 0 || o.ShortSide > 4096:
		return fmt.Errorf("--short_side %d: must be 0 (keep sizes) or a number of pixels up to 4096", o.ShortSide)
	case o.Quality < 1 || o.Quality > 100:
		return fmt.Errorf("--quality %d: must be in [1,100]", o.Quality)
	case o.ShardMB < 1:
		return fmt.Errorf("--shard_mb %d: must be at least 1", o.ShardMB)
	case !(o.BadSamples >= 0 && o.BadSamples <= 1):
		return fmt.Errorf("--bad_samples %v: must be in [0,1]", o.BadSamples)
	}
	return CheckCount("workers", o.Workers, "one a core")
}

// PackReport tells what was written.
type PackReport struct {
	Samples   map[string]int `json:"samples"` // by split
	Shards    int            `json:"shards"`
	Bytes     int64          `json:"bytes"`
	Scaled    int            `json:"scaled"`
	Baselined int            `json:"baselined"`        // progressive files made baseline, without loss
	Kept      int            `json:"kept_progressive"` // for want of libjpeg-turbo
	Bad       []BadImage     `json:"bad"`
}

// BadImage is one that could not be read.
type BadImage struct {
	Name  string `json:"name"`
	Error string `json:"error"`
}

// parcel is one image on its way.
type parcel struct {
	index             int
	sample            shard.Sample
	scaled, baselined bool
	kept              bool
	bad               error
}

// Pack writes every split of a data set as shards, samples in their order, and tells say of images that are left out. What is not scaled
// and not made raw keeps its bytes, but for progressive files that libjpeg-turbo can make baseline. Nothing is written over.
func Pack(ctx context.Context, o PackOptions, say func(format string, args ...any)) (PackReport, error) {
	rep := PackReport{Samples: map[string]int{}, Bad: []BadImage{}}
	if err := o.Check(); err != nil {
		return rep, err
	}
	decoder, err := jpeg.Open(o.Decoder)
	if err != nil {
		return rep, err
	}
	splits, sets, err := openSplits(o.Folder, o.ClassList, o.Splits)
	if err != nil {
		return rep, err
	}
	for i, split := range splits[1:] {
		if err := sameClasses(o.Folder, splits[0], sets[0].Classes(), split, sets[i+1].Classes()); err != nil {
			return rep, err
		}
	}
	w, err := shard.Create(o.Out, sets[0].Classes(), int64(o.ShardMB)<<20, o)
	if err != nil {
		return rep, fmt.Errorf("--out: %w", err)
	}
	defer w.Abort()
	for i, split := range splits {
		if err := w.Split(split); err != nil {
			return rep, err
		}
		p := &packing{PackOptions: o, data: sets[i], decoder: decoder}
		if err := p.run(ctx, split, w, &rep, say); err != nil {
			return rep, err
		}
	}
	if err := w.Close(); err != nil {
		return rep, err
	}
	for name, s := range w.Manifest().Splits {
		rep.Samples[name] = s.Samples
		rep.Shards += len(s.Shards)
		for _, f := range s.Shards {
			rep.Bytes += f.Bytes
		}
	}
	return rep, nil
}

// openSplits opens the named splits of a place, or those that are there.
func openSplits(folder, classes string, names []string) ([]string, []stages.Dataset, error) {
	o := Options{Data: DataOptions{Folder: folder, ClassList: classes}}
	wanted := names
	if len(names) == 0 {
		wanted = []string{"train", "val"}
		if _, ok := stl10.Find(folder); ok {
			wanted = append(wanted, "unlabeled")
		} else if whereIs(folder, "val") == folder {
			packed, err := shard.Splits(context.Background(), folder)
			switch {
			case err != nil:
				return nil, nil, fmt.Errorf("--data_folder: %w", err)
			case len(packed) > 0:
				wanted = packed
			case shard.Named(folder):
				wanted = wanted[:1]
			}
		}
	}
	var splits []string
	var sets []stages.Dataset
	for i, name := range wanted {
		if name == "" || slices.Contains(wanted[:i], name) {
			return nil, nil, fmt.Errorf("--splits %q: want names, each once, such as train,val", strings.Join(names, ","))
		}
		half := name
		if name != "val" {
			half, o.Data.Split = "train", name
		}
		d, err := openData(o, half, false)
		if len(names) == 0 && i > 0 && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		splits, sets = append(splits, name), append(sets, d)
	}
	return splits, sets, nil
}

// packing carries one split through a graph: plan, pack on many workers, write in order.
type packing struct {
	PackOptions
	data    stages.Dataset
	decoder *jpeg.Decoder
}

// perPlan is how many images one item of the graph has.
const perPlan = 16

func (p *packing) run(ctx context.Context, split string, w *shard.Writer, rep *PackReport, say func(string, ...any)) error {
	g := contraflow.New("pack " + split)
	workers := p.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	s := stages.Sampler{N: p.data.Len(), Batch: min(perPlan, p.data.Len()), Epochs: 1, Ordered: true}
	plans := contraflow.Source(g, "plan", s.Plans())
	parcels := contraflow.Step(plans, "pack", p.pack, contraflow.Workers(workers))
	bad := 0
	contraflow.Each(parcels, "write", func(_ context.Context, list []parcel) error {
		for _, c := range list {
			if c.bad != nil {
				name := p.data.Name(c.index)
				rep.Bad = append(rep.Bad, BadImage{name, c.bad.Error()})
				say("left out: %s: %v", name, c.bad)
				bad++
				if err := stages.TooManyBad(name, c.bad, bad, p.BadSamples, p.data.Len()); err != nil {
					return err
				}
				continue
			}
			if err := w.Add(c.sample); err != nil {
				return err
			}
			rep.Scaled += count(c.scaled)
			rep.Baselined += count(c.baselined)
			rep.Kept += count(c.kept)
		}
		return nil
	})
	return g.Run(ctx)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// pack makes the samples of a plan.
func (p *packing) pack(ctx context.Context, plan stages.Plan) ([]parcel, error) {
	out := make([]parcel, 0, len(plan.Index))
	var t packTools
	for _, i := range plan.Index {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c := parcel{index: i}
		if c.bad = p.one(ctx, &t, &c); unreachable(c.bad) {
			return nil, fmt.Errorf("%s: %w", p.data.Name(i), c.bad)
		}
		out = append(out, c)
	}
	return out, nil
}

// packTools are the buffers of one plan.
type packTools struct {
	picture, scaled pixel.Picture
	resizer         pixel.Resizer
}

// one makes one sample. Every image is decoded, so that none gets in that cannot be.
func (p *packing) one(ctx context.Context, t *packTools, c *parcel) error {
	data, err := p.data.Read(ctx, c.index, nil)
	if err != nil {
		return err
	}
	if err := p.decoder.Decode(&t.picture, data); err != nil {
		return err
	}
	pic := &t.picture
	if short := min(pic.W, pic.H); p.ShortSide > 0 && short > p.ShortSide {
		w, h := p.ShortSide, p.ShortSide
		if pic.W < pic.H { // the long side rounds down, as the evaluation crop's does
			h = p.ShortSide * pic.H / pic.W
		} else {
			w = p.ShortSide * pic.W / pic.H
		}
		t.resizer.Resize(&t.scaled, pic, pixel.Box{W: pic.W, H: pic.H}, w, h)
		pic, c.scaled = &t.scaled, true
	}
	c.sample = shard.Sample{Name: p.sampleName(c.index), Label: p.data.Label(c.index)}
	switch {
	case p.Raw:
		c.sample.Data, c.sample.Ext = rawPicture(pic)
	case c.scaled:
		var b bytes.Buffer
		if err := stdjpeg.Encode(&b, rgba(pic), &stdjpeg.Options{Quality: p.Quality}); err != nil {
			return err
		}
		c.sample.Data, c.sample.Ext = b.Bytes(), "jpg"
	default:
		c.sample.Data, c.sample.Ext = data, extension(data)
		if jpeg.Progressive(data) {
			base, err := jpeg.Baseline(data)
			if err == nil {
				c.sample.Data, c.baselined = base, true
			}
			c.kept = errors.Is(err, jpeg.ErrNoTranscoder) // what decodes but has no baseline twin stays as it is, too
		}
	}
	return nil
}

// sampleName is CLASS/FILE, or the file alone without a class.
func (p *packing) sampleName(i int) string {
	base := path.Base(filepath.ToSlash(p.data.Name(i)))
	if l := p.data.Label(i); l >= 0 {
		return strings.ReplaceAll(p.data.Classes()[l], "/", "_") + "/" + base
	}
	return base
}

// extension names a format by its first bytes.
func extension(data []byte) string {
	for ext, magic := range map[string]string{"jpg": "\xFF\xD8", "png": "\x89PNG", "ppm": "P6", "pgm": "P5", "bmp": "BM", "webp": "RIFF"} {
		if bytes.HasPrefix(data, []byte(magic)) {
			return ext
		}
	}
	return "tif" // what is left of what decodes
}

var rawEncoder = func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)))
	if err != nil {
		panic(err) // the options are constant
	}
	return e
}()

// rawPicture is a PPM, compressed if that makes it smaller.
func rawPicture(p *pixel.Picture) (data []byte, ext string) {
	plain := append(fmt.Appendf(nil, "P6\n%d %d\n255\n", p.W, p.H), p.Pix...)
	if small := rawEncoder.EncodeAll(plain, nil); len(small) < len(plain) {
		return small, "ppm.zst"
	}
	return plain, "ppm"
}

// rgba is a picture for the standard library.
func rgba(p *pixel.Picture) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, p.W, p.H))
	for i := range p.W * p.H {
		copy(img.Pix[4*i:], p.Pix[3*i:3*i+3])
		img.Pix[4*i+3] = 255
	}
	return img
}
