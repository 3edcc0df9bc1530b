package jpeg_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/ops/pixel"
)

// A progressive file becomes a baseline one with the same pixels; others stay as they are.
func TestBaseline(t *testing.T) {
	for name, progressive := range map[string]bool{"jpeg_420.jpg": false, "jpeg_gray.jpg": false, "source.png": false, "jpeg_progressive.jpg": true} {
		data := read(t, name)
		if jpeg.Progressive(data) != progressive {
			t.Errorf("%s: progressive is %v", name, !progressive)
		}
		out, err := jpeg.Baseline(data)
		if progressive && errors.Is(err, jpeg.ErrNoTranscoder) {
			t.Log("libjpeg-turbo is not on this machine: nothing is made baseline")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if jpeg.Progressive(out) || bytes.Equal(out, data) == progressive {
			t.Errorf("%s: unchanged %v", name, bytes.Equal(out, data))
		}
		for _, d := range decoders(t) {
			var a, b pixel.Picture
			if err := errors.Join(d.Decode(&a, data), d.Decode(&b, out)); err != nil {
				t.Fatal(err)
			}
			if a.W != b.W || !bytes.Equal(a.Pix, b.Pix) {
				t.Errorf("%s: %s decodes other pixels", name, d.Name())
			}
		}
	}
	if _, err := jpeg.Baseline(read(t, "jpeg_progressive.jpg")[:200]); err == nil {
		t.Error("a truncated file was made baseline")
	}
	for _, odd := range [][]byte{nil, {0xFF, 0xD8}, {0xFF, 0xD8, 0xFF, 0xFF, 0xFF}, {0xFF, 0xD8, 0xFF, 0xE0, 0, 0, 0xFF}} {
		if jpeg.Progressive(odd) {
			t.Errorf("% x is progressive", odd)
		}
	}
}
