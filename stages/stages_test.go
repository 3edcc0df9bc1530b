package stages_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

func plans(t *testing.T, s stages.Sampler) []stages.Plan {
	t.Helper()
	var out []stages.Plan
	for p, err := range s.Plans() {
		if err != nil {
			t.Fatal(err)
		}
		p.Index = append([]int(nil), p.Index...)
		out = append(out, p)
	}
	return out
}

// Every epoch visits every sample once; epochs differ, seeds differ, equal seeds agree.
func TestSamplerVisitsAll(t *testing.T) {
	s := stages.Sampler{N: 23, Batch: 5, Epochs: 3, Seed: 7}
	all := plans(t, s)
	if len(all) != 15 || s.Steps() != 15 || s.PerEpoch() != 5 {
		t.Fatalf("%d plans, %d steps", len(all), s.Steps())
	}
	orders := map[string]bool{}
	for e := range 3 {
		var seen []int
		for b := range 5 {
			p := all[e*5+b]
			if p.Epoch != e+1 || p.Step != e*5+b || p.Batch != b || p.Of != 5 {
				t.Errorf("plan %d is %+v", e*5+b, p)
			}
			seen = append(seen, p.Index...)
		}
		orders[fmt.Sprint(seen)] = true
		sort.Ints(seen)
		for i, v := range seen {
			if v != i {
				t.Fatalf("epoch %d does not visit every sample once", e+1)
			}
		}
	}
	if len(orders) != 3 {
		t.Error("epochs repeat an order")
	}
	if fmt.Sprint(plans(t, s)) != fmt.Sprint(all) {
		t.Error("the same seed gives another order")
	}
	s.Seed++
	if fmt.Sprint(plans(t, s)) == fmt.Sprint(all) {
		t.Error("another seed gives the same order")
	}
}

// Starting at a step gives the plans that a run from the beginning has there; ranks share a batch out.
func TestSamplerResumesAndShards(t *testing.T) {
	s := stages.Sampler{N: 24, Batch: 6, Epochs: 4, Seed: 3}
	all := plans(t, s)
	for start := range all {
		s.Start = start
		if fmt.Sprint(plans(t, s)) != fmt.Sprint(all[start:]) {
			t.Fatalf("from step %d the plans differ", start)
		}
	}
	for _, world := range []int{2, 3} {
		shares := make([][]stages.Plan, world)
		for rank := range world {
			shares[rank] = plans(t, stages.Sampler{N: 24, Batch: 6, Epochs: 4, Seed: 3, Rank: rank, World: world})
		}
		for step, p := range all {
			joined := make([]int, 6)
			for rank := range world {
				for i, v := range shares[rank][step].Index {
					joined[i*world+rank] = v
				}
			}
			if fmt.Sprint(joined) != fmt.Sprint(p.Index) {
				t.Fatalf("%d ranks: step %d is %v, want %v", world, step, joined, p.Index)
			}
		}
	}
}

func TestSamplerMistakes(t *testing.T) {
	for want, s := range map[string]stages.Sampler{
		"empty": {Batch: 1, Epochs: 1}, "batch size 0": {N: 3, Epochs: 1}, "larger than the data set": {N: 3, Batch: 4, Epochs: 1}, "rank": {N: 8, Batch: 4, World: 3, Epochs: 1}, "rank 2 of 2": {N: 8, Batch: 4, Rank: 2, World: 2, Epochs: 1},
		"0 epochs": {N: 8, Batch: 4, MaxSteps: 3},
	} {
		var got []error
		for _, err := range s.Plans() {
			got = append(got, err)
		}
		if len(got) != 1 || got[0] == nil || !strings.Contains(got[0].Error(), want) {
			t.Errorf("want %q, got %v", want, got)
		}
	}
	n := 0
	for range (stages.Sampler{N: 10, Batch: 4, Epochs: 5, DropLast: true, MaxSteps: 3, Ordered: true}).Plans() {
		n++
	}
	if n != 3 {
		t.Errorf("%d steps, want 3", n)
	}
}

// Draws depend on every part of their address, and are what they were.
func TestDraw(t *testing.T) {
	seen := map[uint64]string{}
	for seed := range uint64(3) {
		for epoch := range 3 {
			for index := range 3 {
				for p := stages.PurposeOrder; p <= stages.PurposeInit; p++ {
					v := stages.Draw(seed, epoch, index, p).Uint64()
					at := fmt.Sprint(seed, epoch, index, p)
					if other, twice := seen[v]; twice {
						t.Errorf("%s and %s draw the same", at, other)
					}
					seen[v] = at
				}
			}
		}
	}
}

// Crops lie inside their picture, with areas and shapes in the range asked for, or are the fallback.
func TestCrops(t *testing.T) {
	for name, rule := range stages.CropRules {
		for _, size := range [][2]int{{100, 80}, {30, 300}, {300, 30}, {1, 1}, {64, 64}} {
			w, h := size[0], size[1]
			for i := range 200 {
				b := rule(stages.Draw(1, 0, i, stages.PurposeCrop), w, h, 0.3, 1)
				if b.W < 1 || b.H < 1 || b.X < 0 || b.Y < 0 || b.X+b.W > w || b.Y+b.H > h {
					t.Fatalf("%s: %+v outside %d×%d", name, b, w, h)
				}
				ratio := float64(b.W) / float64(b.H)
				if min(w, h) >= 64 && (ratio < 0.7 || ratio > 1.43 || float64(b.W*b.H) < 0.28*float64(w*h)) {
					t.Fatalf("%s: %+v of %d×%d has ratio %.2f", name, b, w, h, ratio)
				}
			}
		}
	}
}

// memory is a data set of PPM pictures; sample broken cannot be read.
type memory struct {
	n      int
	broken map[int]bool
}

func (m memory) Len() int          { return m.n }
func (m memory) Classes() []string { return []string{"even", "odd"} }
func (m memory) Label(i int) int   { return i % 2 }
func (m memory) Name(i int) string { return fmt.Sprintf("memory:%d", i) }
func (m memory) Read(_ context.Context, i int, _ []byte) ([]byte, error) {
	if m.broken[i] {
		return nil, errors.New("torn page")
	}
	return []byte{byte(i)}, nil
}

// Decode draws a picture that depends on the byte.
func (m memory) Decode(dst *pixel.Picture, data []byte) error {
	dst.Reset(50, 40)
	for i := range dst.Pix {
		dst.Pix[i] = byte(i*7) + data[0]*31
	}
	return nil
}

func loader(m memory) *stages.Decode {
	return &stages.Decode{Data: m, Decoder: m, Seed: 5, Size: 32, CropLow: 0.3, Rule: stages.CropRules["torchvision-0.3"], Crops: 2, Jitter: true, Budget: 0.5}
}

// Settings without which nothing can be cut are asked for by their names.
func TestDecodeSettings(t *testing.T) {
	for want, forget := range map[string]func(d *stages.Decode){
		"Rule": func(d *stages.Decode) { d.Rule = nil },
		"Size": func(d *stages.Decode) { d.Size = 0 },
	} {
		d := loader(memory{n: 9})
		forget(d)
		if _, err := d.Run(context.Background(), stages.Plan{Epoch: 1, Index: []int{3}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is missing: got %v", want, err)
		}
	}
	d := loader(memory{n: 9})
	d.Rule, d.Centre, d.Crops = nil, true, 1
	if _, err := d.Run(context.Background(), stages.Plan{Epoch: 1, Index: []int{3}}); err != nil {
		t.Errorf("the crop in the centre: %v", err)
	}
}

// Crops are a function of (seed, epoch, sample): the same in any batch and order; the two crops of a sample differ.
func TestDecodeIsAddressed(t *testing.T) {
	d := loader(memory{n: 9})
	crop := func(epoch int, index ...int) map[int][][]byte {
		c, err := d.Run(context.Background(), stages.Plan{Epoch: epoch, Index: index})
		if err != nil {
			t.Fatal(err)
		}
		out := map[int][][]byte{}
		for s, i := range index {
			for k := range 2 {
				out[i] = append(out[i], append([]byte(nil), c.Pictures[s*2+k].Pix...))
			}
			if c.Labels[s] != i%2 {
				t.Errorf("sample %d has label %d", i, c.Labels[s])
			}
		}
		d.Recycle(c)
		return out
	}
	a, b, next := crop(1, 3, 8, 1), crop(1, 1, 5, 3), crop(2, 3)
	for _, i := range []int{1, 3} {
		for k := range 2 {
			if !bytes.Equal(a[i][k], b[i][k]) {
				t.Errorf("sample %d crop %d depends on its batch", i, k)
			}
		}
	}
	if bytes.Equal(a[3][0], a[3][1]) || bytes.Equal(a[3][0], next[3][0]) {
		t.Error("crops repeat")
	}
}

// An unreadable sample is replaced by the same other one every time, named and counted, until the budget is spent.
func TestDecodeSubstitutes(t *testing.T) {
	d := loader(memory{n: 20, broken: map[int]bool{4: true}})
	by := -1
	for range 3 {
		c, err := d.Run(context.Background(), stages.Plan{Epoch: 1, Index: []int{4, 5}})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Bad) != 1 || c.Bad[0].Index != 4 || c.Bad[0].Name != "memory:4" || c.Bad[0].By < 0 || (by >= 0 && c.Bad[0].By != by) {
			t.Fatalf("%+v", c.Bad)
		}
		by = c.Bad[0].By
	}
	all := map[int]bool{}
	for i := range 20 {
		all[i] = true
	}
	d = loader(memory{n: 20, broken: all})
	if _, err := d.Run(context.Background(), stages.Plan{Epoch: 1, Index: []int{0}}); err == nil || !strings.Contains(err.Error(), "memory:0") {
		t.Errorf("nothing can be read: %v", err)
	}
	d = loader(memory{n: 20, broken: map[int]bool{1: true, 2: true, 3: true}})
	d.Budget = 0.1
	_, err := d.Run(context.Background(), stages.Plan{Epoch: 1, Index: []int{1, 2, 3}})
	if err == nil || !strings.Contains(err.Error(), "memory:3") || !strings.Contains(err.Error(), "--bad_samples") {
		t.Errorf("beyond the budget: %v", err)
	}
	d = loader(memory{n: 20, broken: map[int]bool{1: true, 2: true}})
	d.Budget = 0.1
	for epoch := range 9 {
		if _, err := d.Run(context.Background(), stages.Plan{Epoch: 1 + epoch, Index: []int{1, 2, 3}}); err != nil {
			t.Fatalf("images that are within the budget are met again in epoch %d: %v", 1+epoch, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := d.Run(ctx, stages.Plan{Epoch: 1, Index: []int{5}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// away is the error of a server that is down.
type away struct{ error }

func (away) Unreachable() {}

// remote is a memory of which one sample has a fault.
type remote struct {
	memory
	away  int
	fault error
}

func (r remote) Read(ctx context.Context, i int, buf []byte) ([]byte, error) {
	if i == r.away {
		return nil, fmt.Errorf("far: %w", r.fault)
	}
	return r.memory.Read(ctx, i, buf)
}

// A sample that cannot be reached, or that shows a data set that is wrong, is not replaced, nor is one whose replacement is such a
// sample: the run ends, and may go on later.
func TestDecodeEndsWhenDataIsAway(t *testing.T) {
	m := memory{n: 20, broken: map[int]bool{4: true}}
	d := loader(m)
	c, err := d.Run(context.Background(), stages.Plan{Epoch: 1, Index: []int{4}})
	if err != nil {
		t.Fatal(err)
	}
	for gone, index := range map[int]int{7: 7, c.Bad[0].By: 4} {
		for want, fault := range map[string]error{
			"far: no answer: no other image takes its place": away{errors.New("no answer")},
			"far: depth.png: it is too small":                &stages.MisfitError{Path: "depth.png", What: "it is too small"},
		} {
			d := loader(m)
			d.Data = remote{m, gone, fault}
			d.OnBad = func(s stages.Substitution) { t.Errorf("%s is called bad", s.Name) }
			_, err := d.Run(context.Background(), stages.Plan{Epoch: 1, Index: []int{index}})
			if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("sample %d: got %v", index, err)
			}
		}
	}
}

// ending is a memory of which reading any sample but the first ends the run.
type ending struct {
	memory
	end context.CancelFunc
}

func (e ending) Read(ctx context.Context, i int, buf []byte) ([]byte, error) {
	if i != 0 {
		e.end()
	}
	return e.memory.Read(ctx, i, buf)
}

// A run that ends while a replacement is looked for ends with that: it calls no image bad.
func TestDecodeEndsInSubstitution(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	broken := map[int]bool{}
	for i := range 20 {
		broken[i] = true
	}
	d := loader(memory{n: 20, broken: broken})
	d.Data = ending{memory{n: 20, broken: broken}, cancel}
	d.OnBad = func(s stages.Substitution) { t.Errorf("%s is called bad", s.Name) }
	if _, err := d.Run(ctx, stages.Plan{Epoch: 1, Index: []int{0}}); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

// Views hold the channels they were asked for, normalised.
func TestViews(t *testing.T) {
	space, err := pixel.LookupSpace("YCbCr")
	if err != nil {
		t.Fatal(err)
	}
	split, err := stages.ParseSplit("Y|Cb|Cr", space)
	if err != nil {
		t.Fatal(err)
	}
	d := loader(memory{n: 4})
	d.Crops = 1
	c, err := d.Run(context.Background(), stages.Plan{Epoch: 1, Index: []int{0, 1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	v := &stages.Views{Space: space, Split: split}
	b, err := v.Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	for s := range 3 {
		p := c.Pictures[s]
		for _, at := range []int{0, 77, 1023} {
			want := space.Convert(p.Pix[3*at], p.Pix[3*at+1], p.Pix[3*at+2])
			for ch := range 3 {
				w := (want[ch] - space.Mean[ch]) / space.Std[ch]
				if got := float64(b.Views[ch][s*1024+at]); math.Abs(got-w) > 1e-6 {
					t.Errorf("sample %d channel %d pixel %d: %v, want %v", s, ch, at, got, w)
				}
			}
		}
	}
	if fmt.Sprint(b.Shapes) != "[[1 32 32] [1 32 32] [1 32 32]]" {
		t.Error(b.Shapes)
	}
	b.Release()
	b.Release()
}

// A donor that lacks a view lends nothing to it: the host keeps its own pixels there. Other views are mixed all the same.
func TestMixtureOfMissingViews(t *testing.T) {
	const side = 2
	flat := func(values ...float32) (out []float32) {
		for _, v := range values {
			out = append(out, v, v, v, v)
		}
		return out
	}
	paste := stages.Area{Bottom: side, Right: side}
	for name, c := range map[string]struct {
		donors []stages.Donor
		beside []float32 // of every decoded picture
		has    []bool
		want   []float32
	}{
		"decoded":       {[]stages.Donor{{Copy: -1}, {Copy: -1}}, []float32{1, 2, 4, 0}, []bool{true, true, true, false}, flat(2.5, 2)},
		"of the batch":  {[]stages.Donor{{Copy: 1}, {Copy: 0}}, []float32{1, 0}, []bool{true, false}, flat(1, 1)},
		"not one lacks": {[]stages.Donor{{Copy: -1}, {Copy: -1}}, []float32{1, 2, 4, 6}, []bool{true, true, true, true}, flat(2.5, 6)},
	} {
		r := &stages.Recipe{Hosts: 2, Donors: c.donors, Acts: []stages.Act{
			{Kind: stages.Blend, To: 0, From: 2, Lambda: 0.5}, {Kind: stages.Paste, To: 1, From: 3, Box: paste, Value: 0.5}}}
		crops := &stages.Crops{Plan: stages.Plan{Index: []int{0, 1}, Mix: r}, PerSample: 1, Labels: []int{0, 0},
			Beside: [][]float32{flat(c.beside...)}, Has: [][]bool{c.has}}
		for i := range c.has {
			p := pixel.Picture{}
			p.Reset(side, side)
			for j := range p.Pix {
				p.Pix[j] = byte(40 * i)
			}
			crops.Pictures = append(crops.Pictures, p)
		}
		space, err := pixel.LookupSpace("Lab")
		if err != nil {
			t.Fatal(err)
		}
		b, err := (&stages.Views{Space: space, Split: [][]int{{0}}}).Run(context.Background(), crops)
		if err != nil {
			t.Fatal(err)
		}
		light := slices.Clone(b.Views[0])
		if b, err = stages.Mix(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(b.Views[1], c.want) {
			t.Errorf("%s: %v, want %v", name, b.Views[1], c.want)
		}
		if name == "decoded" && (b.Views[0][0] == light[0] || b.Views[0][4] == light[4]) {
			t.Errorf("%s: the view that all have was not mixed", name)
		}
	}
}

func TestParseSplit(t *testing.T) {
	lab, _ := pixel.LookupSpace("Lab")
	ycbcr, _ := pixel.LookupSpace("YCbCr")
	for _, c := range []struct {
		text  string
		space pixel.Space
		want  string
	}{
		{"", lab, "[[0] [1 2]]"}, {"L|ab", lab, "[[0] [1 2]]"}, {"a|b|L", lab, "[[1] [2] [0]]"}, {"0|1,2", lab, "[[0] [1 2]]"},
		{"Y|CbCr", ycbcr, "[[0] [1 2]]"}, {"Cr|Y", ycbcr, "[[2] [0]]"}, {"L", lab, "[[0]]"},
	} {
		got, err := stages.ParseSplit(c.text, c.space)
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%q: %v, %v, want %s", c.text, got, err, c.want)
		}
	}
	for bad, want := range map[string]string{"L|L": `at "L"`, "L|q": `at "q"`, "L|": "without channels", "|": "without channels", "L|abL": `at "L"`, "9|1": `at "9"`} {
		if got, err := stages.ParseSplit(bad, lab); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %s", bad, got, err, want)
		}
	}
}
