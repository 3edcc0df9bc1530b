package pixel_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/contraflow/contraflow/ops/pixel"
)

// The pictures of testdata/pixels were made with Pillow by make.py there.
const fixtures = "../../testdata/pixels"

// ppm reads a binary PPM.
func ppm(t *testing.T, name string) *pixel.Picture {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(fixtures, name))
	if err != nil {
		t.Fatal(err)
	}
	var w, h int
	if _, err := fmt.Sscanf(string(raw[:32]), "P6\n%d %d\n255", &w, &h); err != nil {
		t.Fatal(name, err)
	}
	return &pixel.Picture{W: w, H: h, Pix: raw[len(raw)-3*w*h:]}
}

func clone(p *pixel.Picture) *pixel.Picture {
	return &pixel.Picture{W: p.W, H: p.H, Pix: append([]byte(nil), p.Pix...)}
}

func same(t *testing.T, name string, got, want *pixel.Picture) {
	t.Helper()
	if got.W != want.W || got.H != want.H {
		t.Fatalf("%s: %d×%d, want %d×%d", name, got.W, got.H, want.W, want.H)
	}
	if !bytes.Equal(got.Pix, want.Pix) {
		differ, worst := 0, 0
		for i := range got.Pix {
			if d := int(got.Pix[i]) - int(want.Pix[i]); d != 0 {
				differ++
				worst = max(worst, d, -d)
			}
		}
		t.Errorf("%s: %d of %d bytes differ, by up to %d", name, differ, len(want.Pix), worst)
	}
}

// Resizing equals Pillow's bilinear, byte for byte.
func TestResize(t *testing.T) {
	src := ppm(t, "source.ppm")
	files, err := filepath.Glob(filepath.Join(fixtures, "resize_*.ppm"))
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	var r pixel.Resizer
	for _, f := range files {
		name := filepath.Base(f)
		var i, w, h int
		var b pixel.Box
		if _, err := fmt.Sscanf(name, "resize_%d_%d_%d_%d_%d_%d_%d.ppm", &i, &b.X, &b.Y, &b.W, &b.H, &w, &h); err != nil {
			t.Fatal(name, err)
		}
		var dst pixel.Picture
		r.Resize(&dst, src, b, w, h)
		same(t, name, &dst, ppm(t, name))
	}
}

// Colour jitter and grayscale equal Pillow's, byte for byte.
func TestJitter(t *testing.T) {
	src := ppm(t, "source.ppm")
	n := 0
	var planes pixel.Planar
	for kind, apply := range map[string]func(p *pixel.Planar, f float64){
		"brightness": (*pixel.Planar).Brightness, "contrast": (*pixel.Planar).Contrast,
		"saturation": (*pixel.Planar).Saturation, "hue": (*pixel.Planar).Hue,
	} {
		files, err := filepath.Glob(filepath.Join(fixtures, kind+"_*.ppm"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			name := filepath.Base(f)
			var factor float64
			if _, err := fmt.Sscanf(name, kind+"_%g.ppm", &factor); err != nil {
				t.Fatal(name, err)
			}
			p := clone(src)
			planes.Split(p, pixel.Box{W: p.W, H: p.H})
			apply(&planes, factor)
			planes.Join(p)
			same(t, name, p, ppm(t, name))
			n++
		}
	}
	if n != 16 {
		t.Errorf("%d pictures compared, want 16", n)
	}
	p := clone(src)
	planes.Split(p, pixel.Box{W: p.W, H: p.H})
	planes.Grayscale()
	planes.Join(p)
	same(t, "gray", p, ppm(t, "gray.ppm"))
}

// Every colour space equals scikit-image's.
func TestSpaces(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(fixtures, "spaces.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][][3]float64{}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	rgb := want["rgb"]
	delete(want, "rgb")
	if len(want) != len(pixel.SpaceNames())-1 {
		t.Errorf("%d spaces in the file, %d known", len(want), len(pixel.SpaceNames())-1)
	}
	for name, values := range want {
		s, err := pixel.LookupSpace(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			got := s.Convert(byte(rgb[i][0]), byte(rgb[i][1]), byte(rgb[i][2]))
			for c := range got {
				if math.Abs(got[c]-v[c]) > 2e-9 {
					t.Errorf("%s of %v: channel %d is %.12f, want %.12f", name, rgb[i], c, got[c], v[c])
				}
			}
		}
	}
}

// The fast Lab is within 2e-5 of the exact one, after normalisation, over the colour cube; other spaces are exact.
func TestRender(t *testing.T) {
	var p pixel.Picture
	p.Reset(64, 64)
	for _, name := range []string{"Lab", "YCbCr", "RGB"} {
		s, err := pixel.LookupSpace(name)
		if err != nil {
			t.Fatal(err)
		}
		worst := 0.0
		for blue := 0; blue < 256; blue += 5 {
			for i := range 64 * 64 {
				p.Pix[3*i], p.Pix[3*i+1], p.Pix[3*i+2] = byte(i%64*4+blue%4), byte(i/64*4), byte(blue)
			}
			var planes [3][]float32
			for c := range planes {
				planes[c] = make([]float32, 64*64)
			}
			s.Render(planes, &p)
			for i := range 64 * 64 {
				v := s.Convert(p.Pix[3*i], p.Pix[3*i+1], p.Pix[3*i+2])
				for c := range planes {
					worst = max(worst, math.Abs(float64(planes[c][i])-(v[c]-s.Mean[c])/s.Std[c]))
				}
			}
		}
		tol := 2e-6
		if name == "Lab" {
			tol = 2e-5
		}
		if worst > tol {
			t.Errorf("%s: %.2g from the exact value, want at most %.2g", name, worst, tol)
		}
	}
}

func TestFlip(t *testing.T) {
	src := ppm(t, "source.ppm")
	p := clone(src)
	p.FlipH()
	for y := range p.H {
		for x := range p.W {
			if !bytes.Equal(p.Row(y)[3*x:3*x+3], src.Row(y)[3*(p.W-1-x):3*(p.W-x)]) {
				t.Fatalf("pixel %d,%d", x, y)
			}
		}
	}
	p.FlipH()
	same(t, "twice", p, src)
}

func TestUnknownSpace(t *testing.T) {
	if _, err := pixel.LookupSpace("lab"); err != nil {
		t.Error(err)
	}
	if _, err := pixel.LookupSpace("CMYK"); err == nil {
		t.Error("CMYK was found")
	}
}
