package jpeg_test

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/ops/pixel"
)

// tags are values of a TIFF's tags, all of them 16 bits wide.
type tags map[uint16][]uint16

// tiff writes a picture of one strip, 8-bit grey unless more says otherwise.
func tiff(order binary.AppendByteOrder, w, h int, strip []byte, more tags) []byte {
	all := tags{256: {uint16(w)}, 257: {uint16(h)}, 258: {8}, 259: {1}, 262: {1}, 273: {0}, 277: {1}, 278: {uint16(h)}, 279: {uint16(len(strip))}}
	maps.Copy(all, more)
	long := []byte{} // values that do not fit a tag
	place := 8 + 2 + 12*len(all) + 4
	all[273] = []uint16{uint16(place + 2*len(all[258]))}
	head := []byte("II*\x00")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		head = []byte("MM\x00*")
	}
	head = order.AppendUint16(order.AppendUint32(head, 8), uint16(len(all)))
	for _, tag := range slices.Sorted(maps.Keys(all)) {
		v := []byte{}
		for _, u := range all[tag] {
			v = order.AppendUint16(v, u)
		}
		head = order.AppendUint32(order.AppendUint16(order.AppendUint16(head, tag), 3), uint32(len(all[tag])))
		if len(v) > 4 {
			long, v = append(long, v...), order.AppendUint32(nil, uint32(place+len(long)))
		}
		head = append(head, append(v, 0, 0, 0, 0)[:4]...)
	}
	return join(head, make([]byte, 4), long, make([]byte, place+2*len(all[258])-len(head)-4-len(long)), strip)
}

// What is done with the tags of a TIFF is what Pillow 9.4 does.
func TestTIFF(t *testing.T) {
	grey := func(b string) []byte {
		var rgb []byte
		for _, v := range []byte(b) {
			rgb = append(rgb, v, v, v)
		}
		return rgb
	}
	colour := func(bits uint16, more tags) tags {
		maps.Copy(more, tags{258: slices.Repeat([]uint16{bits}, 4), 262: {2}, 277: {4}, 338: {1}})
		return more
	}
	const fax3, fax4 = "\x00\x13\x54\xf8\xe4\x00\x26\xa1\xc0", "\x26\xa8\xbe\x47\x28\x8c\x00\x40\x04"
	black := "\xff\x00\x00\xff\xff\x00" + strings.Repeat("\xff", 18)
	white := "\x00\xff\xff\x00\x00\xff" + strings.Repeat("\x00", 18)
	for _, c := range []struct {
		name  string
		w, h  int
		strip string
		tags  tags
		tw    int // width of the result
		want  []byte
	}{
		{"plain", 2, 3, "123456", nil, 2, grey("123456")},
		{"orientation 2", 2, 3, "123456", tags{274: {2}}, 2, grey("214365")},
		{"orientation 3", 2, 3, "123456", tags{274: {3}}, 2, grey("654321")},
		{"orientation 4", 2, 3, "123456", tags{274: {4}}, 2, grey("563412")},
		{"orientation 5", 2, 3, "123456", tags{274: {5}}, 3, grey("135246")},
		{"orientation 6", 2, 3, "123456", tags{274: {6}}, 3, grey("531642")},
		{"orientation 7", 2, 3, "123456", tags{274: {7}}, 3, grey("642531")},
		{"orientation 8", 2, 3, "123456", tags{274: {8}}, 3, grey("246135")},
		{"orientation 9", 2, 3, "123456", tags{274: {9}}, 2, grey("123456")},
		{"group 3, black is zero", 12, 2, fax3, tags{258: {1}, 259: {3}}, 12, grey(black)},
		{"group 3, white is zero", 12, 2, fax3, tags{258: {1}, 259: {3}, 262: {0}}, 12, grey(white)},
		{"group 4, black is zero", 12, 2, fax4, tags{258: {1}, 259: {4}}, 12, grey(black)},
		{"group 4, white is zero", 12, 2, fax4, tags{258: {1}, 259: {4}, 262: {0}}, 12, grey(white)},
		{"multiplied", 4, 1, "\x0a\x64\xf0\x00\x0a\x64\xf0\x01\x0a\x64\xf0\x80\x0a\x64\xf0\xff", colour(8, tags{}), 4,
			[]byte{0, 0, 0, 255, 255, 255, 19, 199, 255, 10, 100, 240}},
		{"multiplied, 16 bits", 1, 1, "\x0a\x0a\x64\x64\xf0\xf0\x80\x80", colour(16, tags{}), 1, []byte{19, 199, 255}},
	} {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			d := decoders(t)[0]
			var got pixel.Picture
			if err := d.Decode(&got, tiff(order, c.w, c.h, []byte(c.strip), c.tags)); err != nil {
				t.Errorf("%s: %v", c.name, err)
			} else if got.W != c.tw || !bytes.Equal(got.Pix, c.want) {
				t.Errorf("%s: got width %d, %d, want width %d, %d", c.name, got.W, got.Pix, c.tw, c.want)
			}
			var planes pixel.Planes
			if c.tags[338] != nil {
				continue
			}
			if err := d.DecodePlanes(&planes, tiff(order, c.w, c.h, []byte(c.strip), c.tags)); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			for i, v := range planes.Pix {
				if planes.W != c.tw || v != float32(c.want[3*i])/255 {
					t.Fatalf("%s: planes of width %d: %v", c.name, planes.W, planes.Pix)
				}
			}
		}
	}
	for want, data := range map[string][]byte{
		"channels lie in planes": tiff(binary.LittleEndian, 2, 1, []byte("123456"), tags{258: {8, 8, 8}, 262: {2}, 277: {3}, 284: {2}}),
		"lowest bit":             tiff(binary.BigEndian, 2, 1, []byte("12"), tags{266: {2}}),
	} {
		d, err := jpeg.Open("go")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(new(pixel.Picture), data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if err := d.DecodePlanes(new(pixel.Planes), data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("planes: got %v, want %q", err, want)
		}
	}
}
