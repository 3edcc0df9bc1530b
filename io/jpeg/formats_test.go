package jpeg_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/ops/pixel"
)

// differing counts the bytes in which two pictures differ.
func differing(a, b *pixel.Picture) (n int) {
	if a.W != b.W || a.H != b.H {
		return -1
	}
	for i := range a.Pix {
		if a.Pix[i] != b.Pix[i] {
			n++
		}
	}
	return n
}

// Every format, sampling and oddity gives Pillow's bytes, whoever decodes, and a region those of the whole. The pictures were
// made by testdata/pixels/formats/make.py.
func TestFormatsEqualPillow(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(fixtures, "formats", "*.ppm"))
	if err != nil || len(files) < 80 {
		t.Fatal(len(files), err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, d := range decoders(t) {
		compared := 0
		for _, f := range files {
			name := "formats/" + strings.TrimSuffix(filepath.Base(f), ".ppm")
			var got, want, cut, region pixel.Picture
			if err := d.Decode(&want, read(t, name+".ppm")); err != nil {
				t.Fatal(name, err)
			}
			if err := d.Decode(&got, read(t, name)); err != nil {
				t.Errorf("%s %s: %v", d.Name(), name, err)
				continue
			}
			if n := differing(&got, &want); n != 0 {
				t.Errorf("%s %s: %d of %d bytes differ", d.Name(), name, n, len(want.Pix))
				continue
			}
			compared += len(want.Pix)
			for range 12 {
				var planes pixel.Planar
				var box pixel.Box
				if err := d.Region(&planes, read(t, name), func(w, h int) pixel.Box {
					box.W, box.H = 1+rng.IntN(w), 1+rng.IntN(h)
					box.X, box.Y = rng.IntN(w-box.W+1), rng.IntN(h-box.H+1)
					return box
				}); err != nil {
					t.Fatal(name, err)
				}
				planes.Join(&region)
				planes.Split(&want, box)
				planes.Join(&cut)
				if !bytes.Equal(cut.Pix, region.Pix) {
					t.Errorf("%s %s: the region %+v differs from the whole", d.Name(), name, box)
					break
				}
			}
		}
		t.Logf("%s: %d files, %d bytes, no difference", d.Name(), len(files), compared)
	}
}

// A JPEG cut off anywhere is refused by every decoder and for every region, as Pillow does, so that the substitutions of a run do
// not depend on either.
func TestTruncated(t *testing.T) {
	for _, name := range []string{"jpeg_420.jpg", "jpeg_progressive.jpg"} {
		data := read(t, name)
		for _, d := range decoders(t) {
			for n := len(data) - 1; n > 0; n -= 7 {
				var p pixel.Planar
				err := d.Region(&p, data[:n], func(int, int) pixel.Box { return pixel.Box{W: 1, H: 1} })
				if err == nil {
					t.Fatalf("%s %s: %d of %d bytes were enough", d.Name(), name, n, len(data))
				}
			}
		}
	}
}

// Sizes that no picture has are refused before memory is taken, in every format.
func TestBombs(t *testing.T) {
	png := read(t, "formats/rgb.png")
	wide := bytes.Clone(png)
	copy(wide[16:], []byte{0, 0, 0x80, 0, 0, 0, 0x40, 0}) // 32768×16384
	large := bytes.Clone(png)
	copy(large[16:], []byte{0, 0, 0x30, 0, 0, 0, 0x30, 0}) // 12288×12288: allowed, but not of this few bytes
	tall := read(t, "formats/420_50x37.jpg")
	i := bytes.Index(tall, []byte{0xff, 0xc0})
	copy(tall[i+5:], []byte{0x30, 0, 0x30, 0})
	for _, p := range [][]byte{wide, large} {
		binary.BigEndian.PutUint32(p[29:], crc32.ChecksumIEEE(p[12:29]))
	}
	bmp := read(t, "formats/rgb.bmp")
	copy(bmp[18:], []byte{0, 0, 1, 0, 0, 0, 1, 0})
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"wide": {wide, "32768×16384 pixels: more than"}, "large": {large, "decompression bomb"}, "jpeg": {tall, "decompression bomb"},
		"bmp": {bmp, "65536×65536"}, "pnm": {[]byte("P5 100000 100 255 x"), "truncated"},
	} {
		for _, d := range decoders(t) {
			var p pixel.Picture
			allocated := testing.AllocsPerRun(1, func() {
				if err := d.Decode(&p, c.data); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s by %s: got %v, want %q", name, d.Name(), err, c.want)
				}
			})
			if cap(p.Pix) > 0 || allocated > 100 {
				t.Errorf("%s by %s: took %d bytes", name, d.Name(), cap(p.Pix))
			}
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	data := read(b, "formats/420_50x37.jpg")
	for _, mode := range []string{"go", "turbo"} {
		d, err := jpeg.Open(mode)
		if err != nil {
			b.Log(err)
			continue
		}
		b.Run(mode, func(b *testing.B) {
			var p pixel.Picture
			for b.Loop() {
				if err := d.Decode(&p, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
