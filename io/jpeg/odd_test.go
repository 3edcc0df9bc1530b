package jpeg_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/ops/pixel"
)

// segment finds the first segment with a marker in front of the first scan; the scan's header counts.
func segment(data []byte, marker byte) (start, end int) {
	for at := 2; at+3 < len(data); at = end {
		end = at + 2 + int(data[at+2])<<8 + int(data[at+3])
		if data[at+1] == marker {
			return at, end
		}
		if data[at+1] == 0xda {
			break
		}
	}
	return 0, 0
}

// without is data less its segments with a marker.
func without(data []byte, marker byte) []byte {
	for {
		i, j := segment(data, marker)
		if j == 0 {
			return data
		}
		data = join(data[:i], data[j:])
	}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// same wants two files to have the same pixels.
func same(t *testing.T, d *jpeg.Decoder, name string, got, want []byte) {
	t.Helper()
	var a, b pixel.Picture
	if err := d.Decode(&a, got); err != nil {
		t.Errorf("%s by %s: %v", name, d.Name(), err)
		return
	}
	if err := d.Decode(&b, want); err != nil {
		t.Fatal(err)
	}
	if n := differing(&a, &b); n != 0 {
		t.Errorf("%s by %s: %d bytes differ", name, d.Name(), n)
	}
}

// Whatever came before, a file is decoded from its own bytes: its neighbour's mistakes and tables are not carried over.
func TestNothingCarriedOver(t *testing.T) {
	good := read(t, "jpeg_420.jpg")
	lossless := bytes.Clone(good)
	i, _ := segment(good, 0xc0)
	lossless[i+1] = 0xc3
	unquantised := without(good, 0xdb)
	for _, d := range decoders(t) {
		for name, bad := range map[string][]byte{"lossless": lossless, "without tables": unquantised} {
			for range 3 {
				var p pixel.Picture
				if d.Decode(&p, good) != nil {
					t.Errorf("%s: a good file fails after the bad one", name)
				}
				if d.Decode(&p, bad) == nil {
					t.Errorf("%s by %s: decoded", name, d.Name())
				}
			}
			same(t, d, name, good, read(t, "jpeg_420.ppm"))
		}
	}
}

// A file without Huffman tables, as motion JPEG has them, takes the standard ones and never those of the file before. A progressive
// file has no such default.
func TestStandardTables(t *testing.T) {
	optimized := read(t, "formats/optimized.jpg") // leaves other tables behind
	for _, d := range decoders(t) {
		for _, name := range []string{"jpeg_420.jpg", "jpeg_gray.jpg"} {
			var p pixel.Picture
			if err := d.Decode(&p, optimized); err != nil {
				t.Fatal(err)
			}
			same(t, d, name, without(read(t, name), 0xc4), read(t, name))
		}
		var p pixel.Picture
		if d.Decode(&p, without(read(t, "formats/420_50x37_progressive.jpg"), 0xc4)) == nil {
			t.Errorf("%s decodes a progressive file without tables", d.Name())
		}
	}
}

// An error after a warning is an error: the picture before is not taken for the file's.
func TestErrorAfterWarning(t *testing.T) {
	data := read(t, "jpeg_progressive.jpg")
	i := scans(data)[1]
	warning, table := []byte{1, 2, 3}, append([]byte{0xff, 0xc4, 0, 20, 9, 1}, make([]byte, 16)...) // table 9: they end at 3
	bad := join(data[:i], warning, table, data[i:])
	for _, d := range decoders(t) {
		same(t, d, "a warning", join(data[:i], warning, data[i:]), data)
		if d.Decode(new(pixel.Picture), bad) == nil {
			t.Errorf("%s decodes it", d.Name())
		}
	}
	if _, err := jpeg.Baseline(bad); err == nil {
		t.Error("it was made baseline")
	}
}

// scans are the places of the scan headers.
func scans(data []byte) (at []int) {
	for i := range data[:len(data)-1] {
		if data[i] == 0xff && data[i+1] == 0xda {
			at = append(at, i)
		}
	}
	return at
}

var end = []byte{0xff, 0xd9}

// libjpeg smooths the blocks of progressive files that stop early. The own decoder leaves them to it, and they are not made baseline.
func TestUnfinishedScans(t *testing.T) {
	data := read(t, "jpeg_progressive.jpg")
	all := decoders(t)
	for _, i := range scans(data)[1:] {
		cut := join(data[:i], end)
		if _, err := jpeg.Baseline(cut); err == nil {
			t.Errorf("%d bytes: made baseline", i)
		}
		if len(all) == 1 {
			if err := all[0].Decode(new(pixel.Picture), cut); err == nil || !strings.Contains(err.Error(), "unfinished progressive") {
				t.Errorf("%d bytes: %v", i, err)
			}
			continue
		}
		var a, b, whole pixel.Picture
		var planes pixel.Planar
		asked := 0
		err := all[0].Region(&planes, cut, func(w, h int) pixel.Box { asked++; return pixel.Box{W: w, H: h} })
		if err := errors.Join(err, all[0].Decode(&a, cut), all[1].Decode(&b, cut)); err != nil {
			t.Fatal(err)
		}
		planes.Join(&whole)
		if n, m := differing(&a, &b), differing(&whole, &b); n != 0 || m != 0 || asked != 1 {
			t.Errorf("%d bytes: %d and %d bytes differ, asked %d times for a region", i, n, m, asked)
		}
	}
}

// Of CMYK libjpeg-turbo's interface makes no RGB: what only it could decode is refused, with the same line by every decoder.
func TestForeignCMYK(t *testing.T) {
	data := read(t, "formats/cmyk.jpg")
	i, _ := segment(data, 0xc0)
	for _, sof := range []byte{0xc9, 0xc2} { // arithmetic, and progressive: its one scan is broken as such, behind its frame
		data[i+1] = sof
		if sof == 0xc2 {
			j, _ := segment(data, 0xda)
			data[j+14] = 0 // DC alone
		}
		for _, d := range decoders(t) {
			if err := d.Decode(new(pixel.Picture), data); err == nil || !strings.Contains(err.Error(), "a CMYK jpeg with") {
				t.Errorf("%s, SOF %#x: %v", d.Name(), sof, err)
			}
		}
	}
}

// The end marker of a thumbnail does not end the picture, wherever its segment is.
func TestThumbnail(t *testing.T) {
	thumb := read(t, "formats/420_3x5.jpg")
	app := join([]byte{0xff, 0xe1, byte((len(thumb) + 2) >> 8), byte(len(thumb) + 2)}, thumb)
	for _, name := range []string{"jpeg_420.jpg", "jpeg_progressive.jpg"} {
		data := read(t, name)
		for _, marker := range []byte{0xdb, 0xda} { // in front of the frame and behind it
			i, _ := segment(data, marker)
			with := join(data[:i], app, data[i:])
			for _, d := range decoders(t) {
				same(t, d, name, with, data)
				for _, n := range []int{len(with) - 2, len(with) - 100, i + len(app)} {
					if d.Decode(new(pixel.Picture), with[:n]) == nil {
						t.Errorf("%s by %s: %d of %d bytes were enough", name, d.Name(), n, len(with))
					}
				}
			}
		}
	}
}

// As in Pillow a single scan needs no end marker when bytes follow it; several scans do.
func TestEndMarkerMissing(t *testing.T) {
	for _, d := range decoders(t) {
		for _, name := range []string{"jpeg_420.jpg", "jpeg_gray.jpg"} {
			data := read(t, name)
			for _, tail := range [][]byte{make([]byte, 100), []byte("not a marker")} {
				same(t, d, name, join(data[:len(data)-2], tail), data)
			}
			if d.Decode(new(pixel.Picture), join(data[:len(data)/2], make([]byte, 20))) == nil {
				t.Errorf("%s: half of %s was enough", d.Name(), name)
			}
		}
		data := read(t, "jpeg_progressive.jpg")
		if d.Decode(new(pixel.Picture), join(data[:len(data)-2], make([]byte, 100))) == nil {
			t.Errorf("%s decodes a progressive file without its end", d.Name())
		}
	}
}

// A small file does not get hours out of many scans.
func TestScanBombs(t *testing.T) {
	data := read(t, "jpeg_progressive.jpg")
	at := scans(data)
	last := data[at[len(at)-1] : len(data)-2]
	large := bytes.Clone(data)
	i, _ := segment(large, 0xc2)
	copy(large[i+5:], []byte{0x10, 0, 0x10, 0}) // 4096×4096
	for name, bomb := range map[string][]byte{
		"scans":  join(data[:len(data)-2], bytes.Repeat(last, 500), end),
		"blocks": join(large[:len(data)-2], bytes.Repeat(last, 260), end),
	} {
		for _, d := range decoders(t) {
			var p pixel.Picture
			if err := d.Decode(&p, bomb); err == nil || !strings.Contains(err.Error(), "decompression bomb") || cap(p.Pix) > 0 {
				t.Errorf("%s by %s: %v", name, d.Name(), err)
			}
		}
	}
}

// Samplings that TurboJPEG has no name for are decoded by every decoder.
func TestUnnamedSampling(t *testing.T) {
	data := read(t, "jpeg_444.jpg")
	i, _ := segment(data, 0xc0)
	data[i+11] = 0x31 // what the blocks show does not matter
	all := decoders(t)
	var want pixel.Picture
	if err := all[0].Decode(&want, data); err != nil {
		t.Fatal(err)
	}
	for _, d := range all[1:] {
		var got pixel.Picture
		if err := d.Decode(&got, data); err != nil || differing(&got, &want) != 0 {
			t.Errorf("%v, %d bytes differ", err, differing(&got, &want))
		}
	}
}

// Adobe's colour transform is what stands in front of the first scan, and anything but none makes four channels YCCK.
func TestAdobe(t *testing.T) {
	ycck := read(t, "formats/ycck.jpg")
	progressive := without(read(t, "jpeg_progressive.jpg"), 0xe0)
	i := scans(progressive)[1]
	late := join(progressive[:i], []byte("\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"), progressive[i:])
	for _, d := range decoders(t) {
		for _, transform := range []byte{1, 3} {
			other := bytes.Clone(ycck)
			other[bytes.Index(other, []byte("Adobe"))+11] = transform
			same(t, d, "ycck", other, ycck)
		}
		same(t, d, "a late marker", late, progressive)
	}
}

// Grey of 16 bits is cut off at 255 whether or not a grey is transparent, and the end of a PNG may be missing, as in Pillow.
func TestOddPNG(t *testing.T) {
	data := read(t, "formats/i16.png")
	i := bytes.Index(data, []byte("IDAT")) - 4
	trns := []byte("tRNS\x00\x17")
	chunk := binary.BigEndian.AppendUint32(join([]byte{0, 0, 0, 2}, trns), crc32.ChecksumIEEE(trns))
	d := decoders(t)[0]
	same(t, d, "tRNS", join(data[:i], chunk, data[i:]), data)
	same(t, d, "no end", data[:len(data)-12], data)
	for n := len(data) - 13; n > 0; n-- {
		if d.Decode(new(pixel.Picture), data[:n]) == nil {
			t.Errorf("%d of %d bytes were enough", n, len(data))
		}
	}
}

// As in Pillow, a colour that a PNG's palette lacks is a grey, and values between the steps of a short scale go to the even one.
func TestOddColours(t *testing.T) {
	data := read(t, "formats/p8.png")
	i, j := bytes.Index(data, []byte("PLTE"))-4, bytes.Index(data, []byte("IDAT"))-4
	plte := []byte("PLTE\x01\x02\x03")
	short := join(data[:i], []byte{0, 0, 0, 3}, plte, binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(plte)), data[j:])
	d := decoders(t)[0]
	var p pixel.Picture
	if err := d.Decode(&p, short); err != nil {
		t.Fatal(err)
	}
	greys := 0
	for k := 0; k < len(p.Pix); k += 3 {
		switch c := [3]byte(p.Pix[k:]); {
		case c[0] == c[1] && c[1] == c[2] && c[0] > 0:
			greys++
		case c != [3]byte{1, 2, 3}:
			t.Fatalf("the colour %d", c)
		}
	}
	if greys == 0 {
		t.Error("no colour beyond the palette")
	}
	if err := d.Decode(&p, []byte("P5 4 1 100\n\x0a\x1e\x32\x64")); err != nil || !bytes.Equal(p.Pix, []byte{26, 26, 26, 76, 76, 76, 128, 128, 128, 255, 255, 255}) {
		t.Errorf("%v, %d", err, p.Pix)
	}
}

// Kinds that are not decoded are told from damage.
func TestUnknownKinds(t *testing.T) {
	animated := read(t, "formats/lossy.webp")
	animated = join(animated[:12], []byte("VP8X\x0a\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00"), animated[12:])
	bmp := read(t, "formats/rgb.bmp")
	bmp[28] = 16
	for want, data := range map[string][]byte{"an animated webp: want a single picture": animated, "bmp: unsupported BMP image": bmp} {
		if err := decoders(t)[0].Decode(new(pixel.Picture), data); err == nil || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
