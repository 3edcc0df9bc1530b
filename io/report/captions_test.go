package report_test

import (
	"bytes"
	"image"
	"testing"

	"github.com/contraflow/contraflow/io/report"
)

// Captions of any language are drawn without the font's box for what it lacks, and a long word ends in dots: so a caption looks like
// the ASCII that it is made to.
func TestCaptionsAreASCII(t *testing.T) {
	picture := image.NewRGBA(image.Rect(0, 0, 70, 70))
	for text, same := range map[string]string{
		"Kätzchen":      "K?tzchen",
		"日本":            "??",
		"garbage_truck": "garbage_..", // ten characters fit below 70 pixels
	} {
		draw := func(text string) []byte {
			return report.Captions("", [][]report.Captioned{{{Image: picture, Lines: []string{text}}}}, 70).(*image.RGBA).Pix
		}
		if !bytes.Equal(draw(text), draw(same)) {
			t.Errorf("caption %q differs from %q", text, same)
		}
		tile := func(text string) []byte {
			return report.Grid([]report.Strip{{{Image: image.NewRGBA(image.Rect(0, 0, 62, 62)), Caption: text}}}).(*image.RGBA).Pix
		}
		if !bytes.Equal(tile(text), tile(same)) {
			t.Errorf("tile %q differs from %q", text, same)
		}
	}
}
