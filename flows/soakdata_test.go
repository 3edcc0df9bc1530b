package flows_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

// made is a data set of n generated samples, of which one in a hundred is broken, each in one of six ways.
type made struct {
	n       int
	good    [][]byte
	classes []string
}

func newMade(t *testing.T, n int) *made {
	rng := rand.New(rand.NewPCG(1, 2))
	m := &made{n: n, classes: []string{"even", "odd"}}
	for i := range 48 {
		img := image.NewRGBA(image.Rect(0, 0, 40+i%20, 36+i%13))
		for k := 0; k < len(img.Pix); k += 4 {
			c := color.RGBA{byte(k * i / 7), byte(k / 64), byte(rng.IntN(256)), 255}
			img.Pix[k], img.Pix[k+1], img.Pix[k+2], img.Pix[k+3] = c.R, c.G, c.B, c.A
		}
		var b bytes.Buffer
		if err := stdjpeg.Encode(&b, img, &stdjpeg.Options{Quality: 60 + i}); err != nil {
			t.Fatal(err)
		}
		m.good = append(m.good, b.Bytes())
	}
	return m
}

func (m *made) Len() int           { return m.n }
func (m *made) Classes() []string  { return m.classes }
func (m *made) Label(i int) int    { return i % 2 }
func (m *made) Name(i int) string  { return fmt.Sprintf("made/%06d.jpg", i) }
func (m *made) broken(i int) bool  { return i%100 == 37 }
func (m *made) whole(i int) []byte { return m.good[i%len(m.good)] }

func (m *made) Read(_ context.Context, i int, buf []byte) ([]byte, error) {
	data := m.whole(i)
	if !m.broken(i) {
		return append(buf[:0], data...), nil
	}
	switch i / 100 % 6 {
	case 0:
		return nil, nil
	case 1:
		return append(buf[:0], data[:len(data)/2]...), nil
	case 2:
		return append(buf[:0], "this is not an image"...), nil
	case 3: // 65500×65500
		out := append(buf[:0], data...)
		copy(out[bytes.Index(out, []byte{0xff, 0xc0})+5:], []byte{0xff, 0xdc, 0xff, 0xdc})
		return out, nil
	case 4:
		return append(buf[:0], data[:40]...), nil
	}
	return nil, errors.New("input/output error")
}

// A long pass over generated samples, one in a hundred broken, gives every sample once, names every broken one, and ends with the
// memory and the goroutines that it had when it began.
//
// SOAK_DATA=200000 sets the number of samples (make soak-data).
func TestSoakData(t *testing.T) {
	n := 6000
	if text := os.Getenv("SOAK_DATA"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1000 {
			t.Fatalf("SOAK_DATA=%s: want a number of samples, at least 1000", text)
		}
	}
	goroutines := runtime.NumGoroutine()
	data := newMade(t, n)
	decoder, err := jpeg.Open("auto")
	if err != nil {
		t.Fatal(err)
	}
	space, err := pixel.LookupSpace("Lab")
	if err != nil {
		t.Fatal(err)
	}
	decode := &stages.Decode{Data: data, Decoder: decoder, Seed: 3, Size: 32, CropLow: 0.2, Rule: stages.CropRules["torchvision-0.3"], Budget: 0.011}
	views := &stages.Views{Space: space, Split: stages.DefaultSplit, Recycle: decode.Recycle}
	g := contraflow.New("soak")
	plans := contraflow.Source(g, "sampler", stages.Sampler{N: n, Batch: 64, Epochs: 1, Seed: 3}.Plans())
	crops := contraflow.Step(plans, "decode", decode.Run, contraflow.Workers(4))
	batches := contraflow.Step(crops, "views", views.Run)
	seen, bad := make([]bool, n), 0
	var early, late uint64 // bytes in use after a quarter, and at the end
	held := func() uint64 {
		var m runtime.MemStats
		debug.FreeOSMemory()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	done := 0
	contraflow.Each(batches, "sink", func(_ context.Context, b *stages.Batch) error {
		for s, i := range b.Index {
			if seen[i] || b.Labels[s] < 0 {
				t.Errorf("sample %d came twice", i)
			}
			seen[i] = true
		}
		for _, s := range b.Bad {
			if !data.broken(s.Index) || s.By < 0 || data.broken(s.By) || s.Name != data.Name(s.Index) || s.Err == nil {
				t.Errorf("substituted: %+v", s)
			}
			bad++
		}
		for _, v := range b.Views {
			for _, x := range v {
				if !(x > -3 && x < 3) {
					t.Fatalf("step %d: a value of %v", b.Step, x)
				}
			}
		}
		if done += len(b.Index); early == 0 && done > n/4 {
			early = held()
		}
		b.Release()
		return nil
	})
	began := time.Now()
	if err := g.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	late = held()
	want := 0
	for i := range n {
		if data.broken(i) {
			want++
		}
	}
	if done != n || bad != want {
		t.Errorf("%d samples and %d substitutions, want %d and %d", done, bad, n, want)
	}
	if late > early+4<<20 {
		t.Errorf("%d kB are in use at the end, %d kB after a quarter", late>>10, early>>10)
	}
	for wait := 0; runtime.NumGoroutine() > goroutines && wait < 100; wait++ {
		time.Sleep(10 * time.Millisecond)
	}
	if left := runtime.NumGoroutine(); left > goroutines {
		t.Errorf("%d goroutines, %d before", left, goroutines)
	}
	t.Logf("%d samples, %d broken, in %v; %d kB in use after a quarter, %d kB at the end", done, bad, time.Since(began).Round(time.Millisecond), early>>10, late>>10)
}
