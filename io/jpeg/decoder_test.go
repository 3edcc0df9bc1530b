package jpeg_test

import (
	"bytes"
	"image"
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
	turbo, err := jpeg.Open("turbo")
	if err != nil {
		t.Log("libjpeg-turbo is not on this machine: only the Go decoder is tested")
		return []*jpeg.Decoder{slow}
	}
	return []*jpeg.Decoder{slow, turbo}
}

// All decoders give Pillow's pixels.
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
			if n := differing(&got, &want); n != 0 {
				t.Errorf("%s %s: %d bytes differ", d.Name(), name, n)
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
		"pnm huge":  {[]byte("P6\n99999 99999\n255\nabc"), "more than"},
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
	for _, n := range []string{"jpeg_420.jpg", "jpeg_gray.jpg", "source.png", "formats/411_50x37_progressive.jpg", "formats/cmyk.jpg", "formats/ycck.jpg",
		"formats/440_17x15.jpg", "formats/422_17x15.jpg", "formats/lossy.webp", "formats/rgba_lossless.webp", "formats/p8.png", "formats/i16.png", "formats/p.bmp",
		"formats/rgb_lzw.tif", "formats/comment.pnm"} {
		f.Add(read(f, n))
	}
	f.Add([]byte("P5\n2 2\n255\nabcd"))
	all := decoders(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		if cfg, _, err := image.DecodeConfig(bytes.NewReader(data)); err == nil && cfg.Width*cfg.Height > 1<<18 {
			return // as slow as it is large
		}
		for _, d := range all {
			var p pixel.Picture
			err := d.Decode(&p, data)
			if err == nil && len(p.Pix) != 3*p.W*p.H {
				t.Errorf("%d×%d with %d bytes", p.W, p.H, len(p.Pix))
			}
			if err != nil || d.Name() != "go" {
				continue
			}
			var region pixel.Planar
			var got, want pixel.Picture
			box := pixel.Box{X: p.W / 3, Y: p.H / 3, W: p.W - p.W/3 - p.W/4, H: p.H - p.H/3 - p.H/4}
			if err := d.Region(&region, data, func(int, int) pixel.Box { return box }); err != nil {
				t.Fatal(err)
			}
			region.Join(&got)
			region.Split(&p, box)
			region.Join(&want)
			if !bytes.Equal(got.Pix, want.Pix) {
				t.Errorf("the region %+v differs from the whole", box)
			}
		}
	})
}
