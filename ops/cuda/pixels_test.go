//go:build cuda

package cuda_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda"
	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

// The device renders what the processor renders: within 2e-5 in Lab and in the spaces that are affine, in any order of
// channels, and says of the others that it cannot.
func TestRender(t *testing.T) {
	d := open(t, cuda.Options{})
	const n, h, w = 3, 16, 40
	rgb := make([]byte, n*h*w*3)
	for i := range rgb { // every level, and colours dark and light
		rgb[i] = byte(i * (1 + i%3*36) >> (i / 3 % 4))
	}
	rendered := 0
	for _, name := range pixel.SpaceNames() {
		space, err := pixel.LookupSpace(name)
		if err != nil {
			t.Fatal(err)
		}
		if !space.Known {
			if space, err = space.Normalised([]float64{0.3, -0.1, 12}, []float64{0.5, 2, 40}); err != nil {
				t.Fatal(err)
			}
		}
		for _, channels := range [][]int{{0}, {1, 2}, {2, 0, 1}} {
			r, ok := space.Rendering(channels)
			if affine := name != "HSV" && name != "HED" && name != "LUV" && name != "XYZ"; ok != affine {
				t.Fatalf("%s: rendering on the device: %v", name, ok)
			}
			if !ok {
				continue
			}
			rendered++
			t.Run(fmt.Sprint(name, channels), func(t *testing.T) {
				tape, err := renderer(t, d, n, len(channels), h, w).ForwardPixels(ops.Pictures{RGB: rgb, N: n}, r)
				if err != nil {
					t.Fatal(err)
				}
				got := tape.Output(0)
				for b := range n {
					var planes [3][]float32
					for k := range planes {
						planes[k] = make([]float32, h*w)
					}
					space.Render(planes, &pixel.Picture{W: w, H: h, Pix: rgb[b*h*w*3:][:h*w*3]})
					for k, c := range channels {
						close32(t, fmt.Sprintf("picture %d channel %d", b, c), got[(b*len(channels)+k)*h*w:][:h*w], wide(planes[c]), 2e-5)
					}
				}
				tape.Release()
			})
		}
	}
	if rendered < 9 {
		t.Errorf("%d renderings were compared", rendered)
	}
}

// Mirrored and jittered pictures, and mixtures of them, are the processor's: the jitter in every bit, seen through a rendering that keeps the
// levels, and acts of every kind, on donors and copies too, within a rounding of the rendering.
func TestRenderTouchedAndMixed(t *testing.T) {
	d := open(t, cuda.Options{})
	const n, h, w, decoded = 4, 9, 35, 6 // two donors are decoded, one is a copy
	r := rand.New(rand.NewPCG(3, 4))
	rgb := make([]byte, decoded*h*w*3)
	for i := range rgb {
		rgb[i] = byte(r.Uint32())
		if i > len(rgb)/2 && i%5 == 0 {
			rgb[i] = byte(r.IntN(3)) // dark, gray and equal ones
		}
	}
	touch := make([]ops.Touch, decoded)
	for i := range touch {
		touch[i].Mirror = i%2 == 1
		if i != 2 {
			touch[i].Jitter = &ops.Jitter{Gray: i == 4, Order: r.Perm(4), Factor: [3]float64{0.6 + 0.8*r.Float64(), 0.6 + 0.8*r.Float64(), 0.6 + 0.8*r.Float64()}, Hue: 0.8*r.Float64() - 0.4}
		}
	}
	recipe := &stages.Recipe{Hosts: n, Donors: []stages.Donor{{Copy: -1}, {Copy: 1}, {Copy: -1}}}
	box := stages.Area{Top: 2, Bottom: 8, Left: 5, Right: 30}
	recipe.Acts = []stages.Act{
		{Kind: stages.Blend, To: 4, From: 5, Lambda: 0.3}, {Kind: stages.Paste, To: 0, From: 4, Box: box, Value: 0.5},
		{Kind: stages.Blend, To: 0, From: 6, Lambda: 0.71}, {Kind: stages.Fill, To: 3, From: -1, Box: stages.Area{Top: 0, Bottom: 3, Left: 30, Right: 35}, Value: 0.7},
		{Kind: stages.Paste, To: 1, From: 5, Box: box, Value: 1},
	}
	levels := &ops.Rendering{Channels: []int{0, 1, 2}, Affine: [3][4]float32{{1}, {0, 1}, {0, 0, 1}}}
	space, err := pixel.LookupSpace("RGB")
	if err != nil {
		t.Fatal(err)
	}
	normal, _ := space.Rendering([]int{0, 1, 2})
	pr := renderer(t, d, n, 3, h, w)
	order := []int{2, 0, 3, 1}
	run := func(p ops.Pictures, r *ops.Rendering) []float32 {
		t.Helper()
		tape, err := pr.ForwardPixels(p, r)
		if err != nil {
			t.Fatal(err)
		}
		defer tape.Release()
		return slices.Clone(tape.Output(0))
	}
	batch := &stages.Batch{Plan: stages.Plan{Index: make([]int, n), Mix: recipe}, Shapes: [][3]int{{3, h, w}}, Pixels: [][]byte{rgb}, Touch: [][]ops.Touch{touch}}

	flat := *batch
	flat.Mix = nil
	want := (&stages.Views{Space: space}).Rendered(&flat)[0]
	for i, v := range want { // back to levels
		k := i / (h * w) % 3
		want[i] = float32(math.Round(255 * (float64(v)*space.Std[k] + space.Mean[k])))
	}
	got := run(ops.Pictures{RGB: rgb, Touch: touch, N: n}, levels)
	changed := 0
	for i, v := range want {
		if got[i] != v {
			t.Fatalf("value %d of the jittered pictures is %v, want %v", i, got[i], v)
		}
		if s := i / (3 * h * w); v != float32(rgb[(s*h*w+i%(h*w))*3+i/(h*w)%3]) {
			changed++
		}
	}
	if changed < len(want)/2 {
		t.Errorf("%d of %d values were changed", changed, len(want))
	}

	mixed := (&stages.Views{Space: space}).Rendered(batch)[0]
	got = run(ops.Pictures{RGB: rgb, Touch: touch, N: n, Slots: []int{0, 1, 2, 3, 4, 1, 5}, Acts: recipe.Acts, Order: order}, normal)
	size := 3 * h * w
	for i, slot := range order {
		close32(t, fmt.Sprintf("sample %d, slot %d", i, slot), got[i*size:][:size], wide(mixed[slot*size:][:size]), 1e-6)
	}
	for _, bad := range []ops.Pictures{{RGB: rgb[:100], N: n}, {RGB: rgb, N: n, Acts: []ops.Act{{To: 9}}}, {RGB: rgb, N: n, Order: []int{0}}, {RGB: rgb, N: n, Slots: []int{0, 1, 2, 9}}} {
		if _, err := pr.ForwardPixels(bad, normal); err == nil {
			t.Errorf("%d bytes, slots %v, acts %v, order %v are taken", len(bad.RGB), bad.Slots, bad.Acts, bad.Order)
		}
	}
}

// renderer is a program that returns its input.
func renderer(t *testing.T, d ops.Device, batch, c, h, w int) ops.PixelProgram {
	t.Helper()
	g := ops.NewGraph(ops.Shape{C: c, H: h, W: w})
	g.AvgPool(g.Input(), 1, 1)
	p, err := d.NewParams(g)
	if err != nil {
		t.Fatal(err)
	}
	pr, err := d.Compile(g, p, ops.Options{Batch: batch})
	if err != nil {
		t.Fatal(err)
	}
	return pr.(ops.PixelProgram)
}

// Pictures that are sent ahead are those that a pass renders, whatever is sent meanwhile and into the places of others.
func TestSend(t *testing.T) {
	d := open(t, cuda.Options{})
	const n, h, w, batches = 2, 5, 7, 12
	space, err := pixel.LookupSpace("RGB")
	if err != nil {
		t.Fatal(err)
	}
	r, _ := space.Rendering([]int{0, 1, 2})
	program := renderer(t, d, n, 3, h, w)
	batch := func(i int) []byte {
		rgb := make([]byte, n*h*w*3)
		for k := range rgb {
			rgb[k] = byte(31*i + k)
		}
		return rgb
	}
	pass := func(i int, sent ops.Sent) ops.Tape {
		tape, err := program.ForwardPixels(ops.Pictures{RGB: batch(i), N: n, Sent: sent}, r)
		if err != nil {
			t.Fatal(err)
		}
		return tape
	}
	var want [][]float32
	for i := range batches {
		tape := pass(i, nil)
		want = append(want, slices.Clone(tape.Output(0)))
		tape.Release()
	}
	send := func(i int) ops.Sent {
		rgb := batch(i)
		s, err := d.(ops.Sender).Send(rgb)
		if err != nil {
			t.Fatal(err)
		}
		clear(rgb)
		return s
	}
	// Several passes are put on the stream before the first is read, so that places are used again while passes that show what
	// they held are still to run.
	const ahead = 5
	var tapes []ops.Tape
	check := func(i int) {
		if got := tapes[i].Output(0); !slices.Equal(got, want[i]) {
			t.Fatalf("batch %d: other pictures", i)
		}
		tapes[i].Release()
	}
	next := send(0)
	for i := range batches {
		current := next
		if i+1 < batches {
			next = send(i + 1)
		}
		tapes = append(tapes, pass(i, current))
		current.Release()
		current.Release() // twice is once
		if i >= ahead {
			check(i - ahead)
		}
	}
	for i := batches - ahead; i < batches; i++ {
		check(i)
	}
}

// A program that is shown pictures only has no room for floats, of which a batch has four times as many bytes.
func TestRenderHoldsNoFloats(t *testing.T) {
	d := open(t, cuda.Options{}).(*cuda.Device)
	const n, side = 4, 320
	pr := renderer(t, d, n, 3, side, side)
	space, err := pixel.LookupSpace("RGB")
	if err != nil {
		t.Fatal(err)
	}
	r, _ := space.Rendering([]int{0, 1, 2})
	held := func(forward func() (ops.Tape, error)) int64 {
		for range 2 { // uploads take turns
			tape, err := forward()
			if err != nil {
				t.Fatal(err)
			}
			tape.Output(0)
			tape.Release()
		}
		now, _, _ := d.Memory()
		return now
	}
	pictures := held(func() (ops.Tape, error) {
		return pr.ForwardPixels(ops.Pictures{RGB: make([]byte, n*3*side*side), N: n}, r)
	})
	floats := held(func() (ops.Tape, error) { return pr.(ops.Program).Forward(make([]float32, n*3*side*side), n) })
	if floats-pictures < 4*n*3*side*side {
		t.Errorf("%d bytes are held for pictures, %d for floats", pictures, floats)
	}
}

// Batches of ever more pictures, as a mixture draws them, take the places of those before, not new ones beside them.
func TestSendAgain(t *testing.T) {
	d := open(t, cuda.Options{}).(*cuda.Device)
	const most = 8 << 20
	before, _, _ := d.Memory()
	for n := 2 << 20; n <= most; n += 1 << 20 {
		s, err := d.Send(make([]byte, n))
		if err != nil {
			t.Fatal(err)
		}
		s.Release()
	}
	if held, _, _ := d.Memory(); held-before != most {
		t.Errorf("%d bytes are held for the pictures of one batch, of %d at most", held-before, most)
	}
}
