package jpeg_test

import (
	"bytes"
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
