package stages_test

import (
	"context"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

// A stage that was not told what it needs, or was told what cannot be, says so in a line that names the field.
func TestSettings(t *testing.T) {
	ctx := context.Background()
	space, err := pixel.LookupSpace("YCbCr")
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := pixel.LookupSpace("HSV")
	if err != nil {
		t.Fatal(err)
	}
	edges := stages.ViewFunc{Name: "edges", Channels: 1, Render: func([]float32, *pixel.Picture) {}}
	views := func(change func(v *stages.Views, c *stages.Crops)) func() error {
		return func() error {
			c := &stages.Crops{Plan: stages.Plan{Index: []int{0, 1}}, PerSample: 1, Labels: []int{0, 0}, Pictures: make([]pixel.Picture, 2)}
			for i := range c.Pictures {
				c.Pictures[i].Reset(4, 4)
			}
			v := &stages.Views{Space: space, Split: stages.DefaultSplit}
			change(v, c)
			_, err := v.Run(ctx, c)
			return err
		}
	}
	scores := func() *stages.Scores {
		return &stages.Scores{Features: &stages.Features{Batch: &stages.Batch{Plan: stages.Plan{Index: []int{0, 1}}}}}
	}
	decode := func(change func(d *stages.Decode)) func() error {
		return func() error {
			d := loader(memory{n: 9})
			change(d)
			_, err := d.Run(ctx, stages.Plan{Epoch: 1, Index: []int{3}})
			return err
		}
	}
	encode := func(change func(e *stages.Encode, b *stages.Batch, g *stages.Gradients)) func() error {
		return func() error {
			var log []string
			b := &stages.Batch{Plan: stages.Plan{Index: []int{0, 1}}, Views: [][]float32{{1, 2}, {3, 4}}}
			g := &stages.Gradients{D: [][]float32{{5, 6}, nil}}
			e := &stages.Encode{Gradients: &answers{g}, Passes: []stages.Pass{{Tower: 0, View: 0}, {Tower: 1, View: 1, Shuffle: true}}}
			for i, follows := range []int{-1, 0} {
				s := &echo{scribe: scribe{log: &log, norm: 1}}
				e.Towers = append(e.Towers, stages.Tower{Name: []string{"query", "key"}[i], Params: average{s}, Program: s, Follows: follows})
			}
			change(e, b, g)
			if _, err := e.Run(ctx, b); err != nil {
				return err
			}
			return e.Finish(ctx)
		}
	}
	for name, c := range map[string]struct {
		run  func() error
		want string // "" is no error
	}{
		"views":             {views(func(*stages.Views, *stages.Crops) {}), ""},
		"zero space":        {views(func(v *stages.Views, _ *stages.Crops) { v.Space = pixel.Space{} }), "the zero Space has no colours: set one of pixel.LookupSpace"},
		"unknown space":     {views(func(v *stages.Views, _ *stages.Crops) { v.Space = unknown }), "colour space HSV has no mean and deviation of its own: give it some with Normalised"},
		"channel 3":         {views(func(v *stages.Views, _ *stages.Crops) { v.Split = [][]int{{0}, {1, 3}} }), "view 1 of Split has channel 3: there are channels 0, 1 and 2"},
		"channel twice":     {views(func(v *stages.Views, _ *stages.Crops) { v.Split = [][]int{{0, 1}, {1}} }), "channel 1 is in view 0 of Split and in view 1"},
		"no channels":       {views(func(v *stages.Views, _ *stages.Crops) { v.Split = [][]int{{0}, {}} }), "view 1 of Split has no channels"},
		"sizes":             {views(func(_ *stages.Views, c *stages.Crops) { c.Pictures[1].Reset(3, 5) }), "step 0: picture 1 is 3×5 pixels, the first of the batch 4×4"},
		"no pictures":       {views(func(_ *stages.Views, c *stages.Crops) { c.Pictures = nil }), "step 0: a batch without pictures"},
		"function":          {views(func(v *stages.Views, _ *stages.Crops) { v.Functions = []stages.ViewFunc{{Name: "edges"}} }), `function "edges": set Render, and Channels to at least 1`},
		"raw function":      {views(func(v *stages.Views, _ *stages.Crops) { v.Raw, v.Functions = true, []stages.ViewFunc{edges} }), "with Raw no pictures are left to Functions"},
		"raw without space": {views(func(v *stages.Views, _ *stages.Crops) { v.Raw, v.Space = true, pixel.Space{} }), ""},
		"data":              {decode(func(d *stages.Decode) { d.Data = nil }), "nothing to read or to decode with: set Data and Decoder"},
		"objective":         {func() error { _, err := (&stages.Contrast{}).Run(ctx, scores().Features); return err }, "nothing says how to score: set Objective"},
		"rate":              {func() error { _, err := (&stages.Update{}).Run(ctx, scores()); return err }, "set LR and Gradients"},
		"sink": {func() error {
			_, err := (&stages.Update{LR: func(stages.Plan) float64 { return 1 }}).Run(ctx, scores())
			return err
		}, "nothing says how large a step is, or where it goes: set LR and Gradients"},
		"encode":             {encode(func(*stages.Encode, *stages.Batch, *stages.Gradients) {}), ""},
		"source":             {encode(func(e *stages.Encode, _ *stages.Batch, _ *stages.Gradients) { e.Gradients = nil }), "nothing brings gradients: set Gradients to the feedback edge"},
		"program":            {encode(func(e *stages.Encode, _ *stages.Batch, _ *stages.Gradients) { e.Towers[1].Program = nil }), "tower 1, key, has no Program or no Params"},
		"tower of a pass":    {encode(func(e *stages.Encode, _ *stages.Batch, _ *stages.Gradients) { e.Passes[1].Tower = 2 }), "pass 1 is through tower 2: there are 2 towers, counted from 0"},
		"follows itself":     {encode(func(e *stages.Encode, _ *stages.Batch, _ *stages.Gradients) { e.Towers[0].Follows = 0 }), "tower 0, query, follows itself: set Follows to -1 for a trained tower"},
		"follows nobody":     {encode(func(e *stages.Encode, _ *stages.Batch, _ *stages.Gradients) { e.Towers[1].Follows = 2 }), "tower 1, key, follows tower 2: there are 2 towers"},
		"trains nothing":     {encode(func(e *stages.Encode, _ *stages.Batch, _ *stages.Gradients) { e.Towers[0].Follows = 1 }), "no tower is trained: Follows must be -1 for one at least"},
		"shuffles trained":   {encode(func(e *stages.Encode, _ *stages.Batch, _ *stages.Gradients) { e.Passes[0].Shuffle = true }), "pass 0 shuffles, and tower 0, query, is trained: Shuffle is for momentum encoders"},
		"view":               {encode(func(_ *stages.Encode, b *stages.Batch, _ *stages.Gradients) { b.Views = b.Views[:1] }), "step 0: key: pass 1 encodes view 1: the batch has 1, counted from 0"},
		"empty batch":        {encode(func(_ *stages.Encode, b *stages.Batch, _ *stages.Gradients) { b.Index = nil }), "step 0: query: the batch has no samples"},
		"number of passes":   {encode(func(_ *stages.Encode, _ *stages.Batch, g *stages.Gradients) { g.D = g.D[:1] }), "step 0: gradients for 1 of 2 passes: Scores.D has one for every pass, nil for keys"},
		"gradient of a key":  {encode(func(_ *stages.Encode, _ *stages.Batch, g *stages.Gradients) { g.D[1] = []float32{1, 2} }), "step 0: a gradient for pass 1, whose tower key follows another: set its Follows to -1 to train it"},
		"skip needs no more": {encode(func(_ *stages.Encode, _ *stages.Batch, g *stages.Gradients) { g.D, g.Skip = nil, true }), ""},
	} {
		err := c.run()
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// average is a tower whose weights take those of another.
type average struct{ *echo }

func (average) Average(from ops.Params, keep float64) error { return nil }

// Crops of a stage of one's own that leaves PerSample out are one a sample.
func TestViewsOfOwnCrops(t *testing.T) {
	space, err := pixel.LookupSpace("RGB")
	if err != nil {
		t.Fatal(err)
	}
	c := &stages.Crops{Plan: stages.Plan{Index: []int{0, 1}}, Labels: []int{0, 0}, Pictures: []pixel.Picture{{W: 1, H: 1, Pix: []byte{1, 2, 3}}, {W: 1, H: 1, Pix: []byte{4, 5, 6}}}}
	for _, split := range [][][]int{nil, {{0, 1, 2}}} {
		b, err := (&stages.Views{Space: space, Split: split}).Run(context.Background(), c)
		if err != nil || len(b.Views) != 1 || len(b.Views[0]) != 6 || b.Views[0][0] == b.Views[0][3] {
			t.Errorf("split %v: %v, %+v", split, err, b)
		}
	}
}
