package jpeg_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/ops/pixel"
)

const fixtures = "../../testdata/pixels"

func read(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(fixtures, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func decoders(t testing.TB) []*jpeg.Decoder {
	t.Helper()
	slow, err := jpeg.Open("go")
	if err != nil {
		t.Fatal(err)
	}
	auto, err := jpeg.Open("auto")
	if err != nil {
		t.Fatal(err)
	}
	if auto.Name() == "go" {
		t.Log("libjpeg-turbo is not on this machine: only the Go decoder is tested")
		return []*jpeg.Decoder{slow}
	}
	return []*jpeg.Decoder{slow, auto}
}

// libjpeg-turbo gives Pillow's pixels; Go's decoder stays within what other arithmetic and plainer chroma explain.
func TestPixels(t *testing.T) {
	for _, d := range decoders(t) {
		for _, name := range []string{"420", "444", "progressive", "gray"} {
			var got, want pixel.Picture
			if err := d.Decode(&got, read(t, "jpeg_"+name+".jpg")); err != nil {
				t.Fatalf("%s %s: %v", d.Name(), name, err)
			}
			if err := d.Decode(&want, read(t, "jpeg_"+name+".ppm")); err != nil {
				t.Fatal(err)
			}
			if got.W != want.W || got.H != want.H {
				t.Fatalf("%s %s: %d×%d", d.Name(), name, got.W, got.H)
			}
			worst := 0
			for i := range want.Pix {
				worst = max(worst, int(got.Pix[i])-int(want.Pix[i]), int(want.Pix[i])-int(got.Pix[i]))
			}
			limit := map[string]int{"turbo": 0, "go": 4}[d.Name()]
			if d.Name() == "go" && (name == "420" || name == "progressive") {
				limit = 120 // chroma of half resolution, not interpolated, at sharp edges
			}
			if worst > limit {
				t.Errorf("%s %s: a byte differs by %d, at most %d is expected", d.Name(), name, worst, limit)
			}
		}
	}
}

func TestFormats(t *testing.T) {
	for _, d := range decoders(t) {
		var a, b pixel.Picture
		if err := d.Decode(&a, read(t, "source.png")); err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(&b, read(t, "source.ppm")); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Pix, b.Pix) {
			t.Error("PNG and PPM differ")
		}
	}
}

// What cannot be decoded is refused with one line, by every decoder.
func TestRefused(t *testing.T) {
	good := read(t, "jpeg_420.jpg")
	huge := append([]byte(nil), good...)
	i := bytes.Index(huge, []byte{0xff, 0xc0})
	copy(huge[i+5:], []byte{0x9c, 0x40, 0x9c, 0x40})
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":     {nil, "empty"},
		"text":      {[]byte("hello, this is text"), "not an image"},
		"truncated": {good[:len(good)/3], "broken"},
		"header":    {good[:30], "broken"},
		"huge":      {huge, "40000×40000"},
		"pnm":       {[]byte("P6\n9 9\n255\nabc"), "truncated"},
		"pnm huge":  {[]byte("P6\n99999 99999\n255\nabc"), "at most"},
	} {
		for _, d := range decoders(t) {
			var p pixel.Picture
			err := d.Decode(&p, c.data)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s by %s: got %v, want %q", name, d.Name(), err, c.want)
			}
		}
	}
	if _, err := jpeg.Open("magic"); err == nil {
		t.Error("an unknown decoder was opened")
	}
}

func FuzzDecode(f *testing.F) {
	for _, n := range []string{"jpeg_420.jpg", "jpeg_gray.jpg", "source.png"} {
		f.Add(read(f, n))
	}
	f.Add([]byte("P5\n2 2\n255\nabcd"))
	all := decoders(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		for _, d := range all {
			var p pixel.Picture
			if err := d.Decode(&p, data); err == nil && len(p.Pix) != 3*p.W*p.H {
				t.Errorf("%d×%d with %d bytes", p.W, p.H, len(p.Pix))
			}
		}
	})
}
