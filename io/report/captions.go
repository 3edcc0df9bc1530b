package report

import (
	"image"
	"image/color"
	"strings"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// Captioned is a picture with lines of text under it, and boxes drawn on it.
type Captioned struct {
	Image image.Image
	Boxes []image.Rectangle // in pixels of the image
	Lines []string
}

// Captions draws rows of captioned pictures under a heading. Every picture is fitted into a square of side pixels; of captions
// what is not ASCII becomes question marks.
func Captions(heading string, rows [][]Captioned, side int) image.Image {
	const gap, line, top = 10, 14, 28
	heading = ascii(heading)
	columns, width := 0, 0
	var heights []int
	for _, r := range rows {
		columns = max(columns, len(r))
		lines := 0
		for i := range r {
			r[i].Lines = wrap(r[i].Lines, side/7)
			lines = max(lines, len(r[i].Lines))
		}
		heights = append(heights, side+lines*line+2*gap)
	}
	width = max(gap+columns*(side+gap), gap+len(heading)*7)
	height := top
	for _, h := range heights {
		height += h
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(img, img.Bounds(), image.White, image.Point{}, draw.Src)
	text := func(x, y int, s string, ink color.Color) {
		d := font.Drawer{Dst: img, Src: image.NewUniform(ink), Face: basicfont.Face7x13, Dot: fixed.P(x, y)}
		d.DrawString(s)
	}
	text(gap, 18, heading, color.Black)
	y := top
	for i, r := range rows {
		for k, c := range r {
			x := gap + k*(side+gap)
			b := c.Image.Bounds()
			scale := float64(side) / float64(max(b.Dx(), b.Dy(), 1))
			w, h := max(1, int(float64(b.Dx())*scale)), max(1, int(float64(b.Dy())*scale))
			at := image.Rect(x, y, x+w, y+h).Add(image.Pt((side-w)/2, (side-h)/2))
			var how draw.Scaler = draw.CatmullRom
			if scale > 1 {
				how = draw.NearestNeighbor // pixels of small crops stay pixels
			}
			how.Scale(img, at, c.Image, b, draw.Src, nil)
			for n, box := range c.Boxes {
				outline(img, image.Rect(at.Min.X+int(float64(box.Min.X)*scale), at.Min.Y+int(float64(box.Min.Y)*scale),
					at.Min.X+int(float64(box.Max.X)*scale), at.Min.Y+int(float64(box.Max.Y)*scale)),
					[]color.Color{color.RGBA{0xff, 0x30, 0x30, 0xff}, color.RGBA{0x20, 0x90, 0xff, 0xff}}[n%2])
			}
			for n, l := range c.Lines {
				text(x, y+side+line*(n+1), l, color.Gray{0x33})
			}
		}
		y += heights[i]
	}
	return img
}

// outline draws a frame two pixels wide.
func outline(img draw.Image, r image.Rectangle, ink color.Color) {
	u := image.NewUniform(ink)
	for _, side := range []image.Rectangle{
		image.Rect(r.Min.X, r.Min.Y, r.Max.X, r.Min.Y+2), image.Rect(r.Min.X, r.Max.Y-2, r.Max.X, r.Max.Y),
		image.Rect(r.Min.X, r.Min.Y, r.Min.X+2, r.Max.Y), image.Rect(r.Max.X-2, r.Min.Y, r.Max.X, r.Max.Y),
	} {
		draw.Draw(img, side, u, image.Point{}, draw.Src)
	}
}

// wrap breaks lines at spaces so that none is longer than n, and makes them ASCII.
func wrap(lines []string, n int) (out []string) {
	for _, l := range lines {
		now := ""
		for _, word := range strings.Fields(ascii(l)) {
			if now != "" && len(now)+1+len(word) > n {
				out, now = append(out, now), ""
			}
			if now != "" {
				now += " "
			}
			now = cut(now+word, n)
		}
		out = append(out, now)
	}
	return out
}

// ascii is what the font of pictures can write of a text: it has no other characters, and would draw a 0 in a box for each.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// cut shortens ASCII to n characters, with two dots for the rest.
func cut(s string, n int) string {
	if len(s) <= n || n < 2 {
		return s
	}
	return s[:n-2] + ".."
}
