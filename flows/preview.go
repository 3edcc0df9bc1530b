package flows

import (
	"context"
	"fmt"
	"image"
	"image/png"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/contraflow/contraflow/io/report"
	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

// Preview draws the first samples of a step as the network will see them: the picture with its crops, every crop, partners and boxes
// of a mixture, the result, and each view, with the drawn parameters as captions. Nothing is trained or written.
func Preview(ctx context.Context, o Options, step, samples int) (image.Image, error) {
	o.Optim.BatchSize = max(o.Optim.BatchSize, 1)
	r, err := prepareFitting(o)
	if err != nil {
		return nil, err
	}
	if step < 0 || step >= r.sampler.Steps() {
		return nil, fmt.Errorf("--step %d: the run has steps 0 to %d", step, r.sampler.Steps()-1)
	}
	r.sampler.Start = step
	p := &preview{run: r}
	for plan, err := range r.sampler.Plans() {
		if err != nil {
			return nil, err
		}
		if err := p.load(ctx, plan, samples); err != nil {
			return nil, err
		}
		break
	}
	rows, err := p.rows(ctx)
	if err != nil {
		return nil, err
	}
	return report.Captions(p.heading(), rows, 176), nil
}

// CheckPNG refuses another ending of --out.
func CheckPNG(out string) error {
	if !strings.EqualFold(filepath.Ext(out), ".png") {
		return fmt.Errorf("--out %s: the picture is a PNG: give a name that ends in .png", out)
	}
	return nil
}

// WritePNG writes a picture whole or not at all.
func WritePNG(path string, img image.Image) error {
	return ReplaceFile(path, func(w io.Writer) error { return png.Encode(w, img) })
}

// preview is one batch, cut down to a few samples.
type preview struct {
	run    *Run
	plan   stages.Plan
	crops  []pixel.Picture // of every slot that is decoded, before any mixture
	per    int
	batch  *stages.Batch
	bad    map[int]int // sample → the one instead
	labels []int
}

// load runs the stages of the flow on the first samples of a plan. The others stay in Whole, so that partners within the batch are those
// of the whole batch.
func (p *preview) load(ctx context.Context, plan stages.Plan, samples int) error {
	r, o := p.run, p.run.o
	if plan.Whole == nil {
		plan.Whole = plan.Index
	}
	plan.Index = plan.Index[:min(samples, len(plan.Index))]
	unmix := &stages.Unmix{Prob: o.Mix.UnmixProb, Beta: o.Mix.UnmixBeta, Seed: uint64(o.Run.Seed)}
	var err error
	switch {
	case r.mixes():
		plan, err = r.newMixture().Plan(ctx, plan)
	case r.unmixes():
		plan, err = unmix.Plan(ctx, plan)
	}
	if err != nil {
		return err
	}
	c, err := r.decode.Run(ctx, plan)
	if err != nil {
		return err
	}
	p.plan, p.per, p.bad = plan, c.PerSample, map[int]int{}
	p.labels = append(p.labels, c.Labels...)
	for _, s := range c.Bad {
		p.bad[s.Index] = s.By
	}
	for _, pic := range c.Pictures {
		p.crops = append(p.crops, pixel.Picture{W: pic.W, H: pic.H, Pix: append([]byte(nil), pic.Pix...)})
	}
	if p.batch, err = r.views.stage(nil).Run(ctx, c); err != nil {
		return err
	}
	switch {
	case r.mixes():
		p.batch, err = stages.Mix(ctx, p.batch)
	case r.unmixes():
		p.batch, err = unmix.Run(ctx, p.batch)
	}
	return err
}

func (p *preview) heading() string {
	o := p.run.o
	mix := "no mixture"
	if o.Mix.On {
		mix = "--IM_type " + o.Mix.Type
		if slices.Contains([]string{"IM", "global", "region"}, o.Mix.Type) {
			mix += ", partners from the " + o.Mix.Partner
		}
	}
	return fmt.Sprintf("%s, step %d of epoch %d, seed %d, %d x %d, %s, %s", o.Method, p.plan.Step, p.plan.Epoch, o.Run.Seed,
		o.Data.ImageSize, o.Data.ImageSize, p.run.views.space.Name, mix)
}

func (p *preview) rows(ctx context.Context) ([][]report.Captioned, error) {
	var out [][]report.Captioned
	for slot, index := range p.plan.Index {
		row, err := p.original(ctx, slot, index)
		if err != nil {
			return nil, err
		}
		if p.plan.Mix != nil {
			row = append(row, p.mixture(slot)...)
		}
		out = append(out, append(row, p.views(slot)...))
	}
	return out, nil
}

// original is the picture with its boxes, and its crops.
func (p *preview) original(ctx context.Context, slot, index int) ([]report.Captioned, error) {
	r := p.run
	shown := index
	by, substituted := p.bad[index]
	if substituted {
		shown = by
	}
	data, err := r.data.Read(ctx, shown, nil)
	if err != nil {
		return nil, err
	}
	var pic pixel.Picture
	if err := r.decoder.Decode(&pic, data); err != nil {
		return nil, err
	}
	class := ""
	if l := p.labels[slot]; l >= 0 && l < len(r.data.Classes()) {
		class = ", " + r.data.Classes()[l]
	}
	whole := report.Captioned{Image: rgba(&pic), Lines: []string{fmt.Sprintf("sample %d%s", index, class), filepath.Base(r.data.Name(shown)), fmt.Sprintf("%d x %d", pic.W, pic.H)}}
	if substituted {
		whole.Lines = append(whole.Lines, fmt.Sprintf("unreadable: sample %d instead", shown))
	}
	row := []report.Captioned{whole}
	for k := range p.per {
		d := r.decode.Drawn(p.plan.Epoch, index, k, pic.W, pic.H)
		row[0].Boxes = append(row[0].Boxes, image.Rect(d.Box.X, d.Box.Y, d.Box.X+d.Box.W, d.Box.Y+d.Box.H))
		row = append(row, report.Captioned{Image: rgba(&p.crops[slot*p.per+k]), Lines: describe(k, d)})
	}
	return row, nil
}

// describe is what was drawn for a crop.
func describe(k int, d stages.Drawn) []string {
	mirror := ""
	if d.Mirror {
		mirror = ", mirrored"
	}
	lines := []string{fmt.Sprintf("crop %d: %d x %d at %d,%d%s", k+1, d.Box.W, d.Box.H, d.Box.X, d.Box.Y, mirror)}
	if j := d.Jitter; j != nil {
		var parts []string
		if j.Gray {
			parts = append(parts, "gray")
		}
		for _, part := range j.Order {
			if part == 3 {
				parts = append(parts, fmt.Sprintf("hue %+.2f", j.Hue))
				continue
			}
			parts = append(parts, fmt.Sprintf("%s %.2f", []string{"brightness", "contrast", "saturation"}[part], j.Factor[part]))
		}
		lines = append(lines, strings.Join(parts, " "))
	}
	return lines
}

// mixture are the partners and boxes of a sample in the order in which they act, those of its partners first.
func (p *preview) mixture(slot int) (out []report.Captioned) {
	m := p.plan.Mix
	if p.run.unmixes() {
		o := p.run.o
		unmix := &stages.Unmix{Prob: o.Mix.UnmixProb, Beta: o.Mix.UnmixBeta, Seed: uint64(o.Run.Seed)}
		what, boxes := fmt.Sprintf("reversed batch, lambda %.3f", p.batch.Lambda), []image.Rectangle(nil)
		if whole, _, b := unmix.Draw(p.plan, o.Data.ImageSize, o.Data.ImageSize); !whole {
			what += fmt.Sprintf(", rows %d-%d, columns %d-%d", b.Top, b.Bottom, b.Left, b.Right)
			boxes = append(boxes, image.Rect(b.Left, b.Top, b.Right, b.Bottom))
		}
		return []report.Captioned{p.partner(m.Hosts+slot, what, boxes)}
	}
	mine := map[int]bool{slot: true}
	for i := len(m.Acts) - 1; i >= 0; i-- { // partners of partners
		if a := m.Acts[i]; mine[a.To] && a.From >= 0 {
			mine[a.From] = true
		}
	}
	for _, a := range m.Acts {
		if !mine[a.To] {
			continue
		}
		box := []image.Rectangle{image.Rect(a.Box.Left, a.Box.Top, a.Box.Right, a.Box.Bottom)}
		where := fmt.Sprintf("rows %d-%d, columns %d-%d", a.Box.Top, a.Box.Bottom, a.Box.Left, a.Box.Right)
		on := ""
		if a.To != slot {
			on = fmt.Sprintf(" into partner %d", m.Donors[a.To-m.Hosts].Index)
		}
		switch a.Kind {
		case stages.Blend:
			out = append(out, p.partner(a.From, fmt.Sprintf("global%s: lambda %.3f", on, a.Lambda), nil))
		case stages.Paste:
			out = append(out, p.partner(a.From, fmt.Sprintf("region%s: lambda %.3f, %s", on, a.Lambda, where), box))
		case stages.Fill:
			out = append(out, report.Captioned{Image: rgba(&p.crops[slot*p.per]), Boxes: box, Lines: []string{fmt.Sprintf("filled with %.3f:", a.Value), where}})
		}
	}
	if len(out) == 0 {
		out = append(out, report.Captioned{Image: rgba(&p.crops[slot*p.per]), Lines: []string{"not mixed"}})
	}
	return out
}

// partner is the picture of a donor, as it was cut for this sample.
func (p *preview) partner(slot int, what string, boxes []image.Rectangle) report.Captioned {
	d := p.plan.Mix.Donors[slot-p.plan.Mix.Hosts]
	return report.Captioned{Image: rgba(&p.crops[slot*p.per]), Boxes: boxes, Lines: []string{fmt.Sprintf("partner: sample %d", d.Index), what}}
}

// views are what the encoders see of a sample: the result of a mixture as a whole, and every view.
func (p *preview) views(slot int) (out []report.Captioned) {
	v, b := p.run.views, p.batch
	var all [3][]float32
	for i, s := range b.Shapes {
		plane := func(c int) []float32 { return b.Views[i][(slot*s[0]+c)*s[1]*s[2]:][:s[1]*s[2]] }
		var pic pixel.Picture
		name := fmt.Sprintf("view %d", i+1)
		if i < len(v.names) && v.split != nil {
			name += ": " + v.names[i]
		}
		switch {
		case i < len(v.split):
			var planes [3][]float32
			for k, c := range v.split[i] {
				planes[c] = plane(k)
				all[c] = planes[c]
			}
			v.space.Show(&pic, s[2], s[1], planes)
		case v.split == nil && s[0] == 3:
			v.space.Show(&pic, s[2], s[1], [3][]float32{plane(0), plane(1), plane(2)})
		default:
			beside(&pic, s, plane)
		}
		if p.run.unmixes() && i == len(b.Shapes)-1 {
			name += ": mixed"
		}
		out = append(out, report.Captioned{Image: rgba(&pic), Lines: []string{name, fmt.Sprintf("[%d,%d,%d]", s[0], s[1], s[2])}})
	}
	if v.split != nil {
		s := b.Shapes[0]
		var pic pixel.Picture
		v.space.Show(&pic, s[2], s[1], all)
		out = append([]report.Captioned{{Image: rgba(&pic), Lines: []string{"result", v.space.Name + ", all channels"}}}, out...)
	}
	return out
}

// beside shows a view in [-1,1] of one or three channels.
func beside(dst *pixel.Picture, s [3]int, plane func(c int) []float32) {
	dst.Reset(s[2], s[1])
	for c := range 3 {
		for i, v := range plane(min(c, s[0]-1)) {
			dst.Pix[3*i+c] = byte(255 * min(max((v+1)/2, 0), 1))
		}
	}
}
