package jpeg_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/ops/pixel"
)

// Whatever bytes of a file are others, both decoders refuse it or both have the same pixels: which images a run takes another for does
// not depend on the decoder.
func TestDamaged(t *testing.T) {
	all := decoders(t)
	if runtime.GOARCH != "amd64" || len(all) == 1 {
		t.Skip("libjpeg-turbo for amd64 is what the own decoder is modelled on")
	}
	files, err := filepath.Glob(filepath.Join(fixtures, "formats", "*.jpg"))
	if err != nil || len(files) < 50 {
		t.Fatal(len(files), err)
	}
	rng, decoded := rand.New(rand.NewPCG(2, 1)), 0
	for range 2000 {
		name := "formats/" + filepath.Base(files[rng.IntN(len(files))])
		data := read(t, name)
		at := []int{}
		for range 1 + rng.IntN(3) {
			k := 2 + rng.IntN(len(data)-2)
			data[k], at = byte(rng.Uint32()), append(at, k)
		}
		var a, b pixel.Picture
		err, want := all[0].Decode(&a, data), all[1].Decode(&b, data)
		switch {
		case (err == nil) != (want == nil):
			t.Errorf("%s with other bytes at %d: %v, want %v", name, at, err, want)
		case err == nil && differing(&a, &b) != 0:
			t.Errorf("%s with other bytes at %d: %d bytes differ", name, at, differing(&a, &b))
		case err == nil:
			decoded++
		}
	}
	if decoded < 500 {
		t.Errorf("only %d could be decoded", decoded)
	}
}

// Where restart markers are lost, moved or damaged, libjpeg and the own decoder find their place again alike. A letter is a segment of two
// equal blocks, a capital one that ends within the second. Of a missing segment, -, the first block is what zeros decode to and the second is
// 128, as are both, '.', when the segment before ended early.
func TestRestarts(t *testing.T) {
	head := []byte("\xff\xd8\xff\xdb\x00\x43\x00" + strings.Repeat("\x08", 64) + // a sample is 128 more than its block's first coefficient
		"\xff\xc0\x00\x0b\x08\x00\xa0\x00\x08\x01\x01\x11\x00" + // 8×160
		"\xff\xdd\x00\x04\x00\x02" +
		"\xff\xc4\x00\x15\x00\x01\x01" + strings.Repeat("\x00", 14) + "\x05\x00" + // 0: five bits follow, 10: the same again
		"\xff\xc4\x00\x14\x10\x01" + strings.Repeat("\x00", 15) + "\x00" + // 0: nothing else in the block
		"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00")
	for name, c := range map[string][2]string{
		"in order":       {"a0b1c2d3e4f5g6h7i0j", "abcdefghij"},
		"one lost":       {"a0b1c3e4f5g6h7i0j", "abc-efghij"},
		"two lost":       {"a0b1c4f5g6h7i0j", "abc-.fghij"},
		"three lost":     {"a0b1c5g6h7i0j", "abcghij-.."},
		"one twice":      {"a0b1c2d2d3e4f5g6h7i0j", "abcdefghij"},
		"an older one":   {"a0b1c2d1c3e4f5g6h7i0j", "abcdefghij"},
		"another marker": {"a0b1cxd3e4f5g6h7i0j", "abc-efghij"},
		"an early end":   {"a0b1C3e4f5g6h7i0j", "abc.efghij"},
		"none behind":    {"a0b1c", "abc-......"},
	} {
		data := head
		for _, b := range []byte(c[0]) {
			bits := (b|0x20-'a')*3 + 1
			switch {
			case b == 'x':
				data = join(data, []byte{0xff, 0x30})
			case b < 'A':
				data = join(data, []byte{0xff, 0xd0 + b - '0'})
			case b < 'a':
				data = join(data, []byte{bits<<2 | 1})
			default:
				data = join(data, []byte{bits<<2 | 1, 0x3f})
			}
		}
		var want []byte
		for _, b := range []byte(c[1]) {
			bits := (b-'a')*3 + 1
			v := [2]byte{128 + bits, 128 + bits}
			switch {
			case b == '-':
				v = [2]byte{128 - 31, 128}
			case b == '.':
				v = [2]byte{128, 128}
			case bits < 16:
				v = [2]byte{128 - 31 + bits, 128 - 31 + bits}
			}
			want = join(want, bytes.Repeat(v[:1], 8*8*3), bytes.Repeat(v[1:], 8*8*3))
		}
		for _, d := range decoders(t) {
			var p, top pixel.Picture
			var planes pixel.Planar
			err := d.Decode(&p, join(data, end))
			if err = errors.Join(err, d.Region(&planes, join(data, end), func(w, h int) pixel.Box { return pixel.Box{W: w, H: h / 10} })); err != nil {
				t.Fatalf("%s by %s: %v", name, d.Name(), err)
			}
			if planes.Join(&top); !bytes.Equal(p.Pix, want) || !bytes.Equal(top.Pix, want[:len(want)/10]) {
				t.Errorf("%s by %s: got %d", name, d.Name(), p.Pix)
			}
		}
	}
}

// What libjpeg refuses the own decoder refuses, so that both take another image in its place; and what libjpeg does not look at is no error.
func TestRefusedAlike(t *testing.T) {
	sequential, progressive := read(t, "jpeg_444.jpg"), read(t, "jpeg_progressive.jpg")
	edit := func(data []byte, marker byte, changes ...int) []byte { // of bytes behind the marker, by pairs of place and value
		data = bytes.Clone(data)
		i, _ := segment(data, marker)
		for k := 0; k < len(changes); k += 2 {
			data[i+2+changes[k]] = byte(changes[k+1])
		}
		return data
	}
	insert := func(data []byte, at int, what string) []byte { return join(data[:at], []byte(what), data[at:]) }
	second, last := scans(progressive)[1], len(sequential)-2
	scan := string(sequential[scans(sequential)[0]:last])
	for name, bad := range map[string][]byte{
		"a code of ones":                edit(sequential, 0xc4, 10, 2, 11, 0),
		"a DC difference of 16 bits":    edit(sequential, 0xc4, 30, 16),
		"eleven blocks at once":         edit(sequential, 0xc0, 9, 0x33),
		"bits left out":                 edit(progressive, 0xda, 11, 0x31),
		"a marker of another format":    insert(sequential, 2, "\xff\xf0\x00\x02"),
		"a marker between scans":        insert(progressive, second, "\xff\x30\x00\x02"),
		"channels in another order":     edit(sequential, 0xda, 3, 2, 5, 1),
		"another start":                 insert(sequential, 2, "\xff\xd8"),
		"a marker behind the scan":      insert(sequential, last, "\xff\x30\x00\x02"),
		"a bad table behind the scan":   insert(sequential, last, "\xff\xdb\x00\x43\x0e"+strings.Repeat("\x01", 64)),
		"another frame behind the scan": insert(sequential, last, "\xff\xc0\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00"),
		"a marker and no segment":       insert(sequential, last, "\xff\x30\xff\xff"),
		"another scan":                  insert(sequential, last, scan),
		"a bad table that is cut off":   insert(sequential, last, "\xff\xdb\x10\x00\x05"),
		"bad arithmetic conditions":     insert(sequential, last, "\xff\xcc\x00\x04\x03\x12"),
		"half an arithmetic condition":  insert(sequential, last, "\xff\xcc\x00\x05\x03\x21\x04"),
		"a scan that is cut off":        insert(sequential, last, "\xff\xda\x10\x00\x03"),
	} {
		for _, d := range decoders(t) {
			if err := d.Decode(new(pixel.Picture), bad); err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s by %s: %v", name, d.Name(), err)
			}
		}
	}
	for _, d := range decoders(t) {
		same(t, d, "a bad table that no scan uses", insert(sequential, 2, "\xff\xc4\x00\x16\x03\x03"+strings.Repeat("\x00", 18)), sequential)
		same(t, d, "channels of one name", edit(edit(sequential, 0xc0, 8, 7, 11, 7, 14, 7), 0xda, 3, 7, 5, 7, 7, 7), sequential)
		same(t, d, "a scan of DC that names an AC table 15", edit(progressive, 0xda, 4, 0x0f), progressive)
		same(t, d, "bytes and a comment behind the scan", insert(sequential, last, "no marker\xff\xfe\x00\x03!"), sequential)
		same(t, d, "a comment of no byte", insert(sequential, last, "\xff\xfe\x00\x00"), sequential)
		same(t, d, "a segment that reaches behind the end", insert(sequential, last, "\xff\xe1\xff\xff"), sequential)
		same(t, d, "markers without a meaning", insert(sequential, 2, "\xff\x01\xff\xd3\xff\xdc\x00\x04\x00\x01\xff\xfe\x00\x02\xff\xef\x00\x02"), sequential)
	}
}

// Coefficients that no encoder writes overflow 16 bits in the vector steps of libjpeg-turbo, of which the own decoder has the same: such
// blocks stand where a file was cut.
func TestOverflow(t *testing.T) {
	all := decoders(t)
	if runtime.GOARCH != "amd64" || len(all) == 1 {
		t.Skip("libjpeg-turbo for amd64 is what the transform is modelled on")
	}
	for _, name := range []string{"jpeg_420.jpg", "jpeg_gray.jpg", "jpeg_progressive.jpg", "formats/cut_with_end.jpg"} {
		data := read(t, name)
		i, j := segment(data, 0xdb)
		for k := i + 5; k < j; k++ {
			data[k] = max(data[k], byte(k*3)) // tables of up to 255
		}
		var a, b pixel.Picture
		if err := errors.Join(all[0].Decode(&a, data), all[1].Decode(&b, data)); err != nil {
			t.Error(name, err)
		}
		if n := differing(&a, &b); n != 0 {
			t.Errorf("%s: %d of %d bytes differ", name, n, len(b.Pix))
		}
	}
}
