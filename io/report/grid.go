package report

import (
	"image"
	"image/color"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// Frame says whether a neighbour has the class of its query.
type Frame uint8

// The frames.
const (
	Plain Frame = iota
	Right
	Wrong
)

// Tile is one square picture of a grid with a caption under it, and a note under that.
type Tile struct {
	Image         image.Image
	Caption, Note string
	Frame         Frame
}

// Strip is one row of a grid: a query, which stands apart, and its neighbours.
type Strip []Tile

// Grid draws strips under each other. Tiles are as large as the first one. Of captions what is not ASCII becomes question marks.
func Grid(rows []Strip) image.Image {
	const gap, apart, border, text = 10, 26, 4, 34
	side, columns := 0, 0
	for _, r := range rows {
		columns = max(columns, len(r))
		if side == 0 && len(r) > 0 {
			side = r[0].Image.Bounds().Dx()
		}
	}
	cell := side + 2*border
	img := image.NewRGBA(image.Rect(0, 0, max(1, gap+columns*(cell+gap)+apart), max(1, gap+len(rows)*(cell+text+gap))))
	draw.Draw(img, img.Bounds(), image.White, image.Point{}, draw.Src)
	for y, r := range rows {
		for x, t := range r {
			x0, y0 := gap+x*(cell+gap), gap+y*(cell+text+gap)
			if x > 0 {
				x0 += apart
			}
			frame := image.NewUniform([]color.Color{color.Gray{0xbb}, color.RGBA{0x1b, 0x8a, 0x5a, 0xff}, color.RGBA{0xc0, 0x34, 0x34, 0xff}}[t.Frame])
			if x == 0 {
				frame = image.NewUniform(color.Gray{0x22})
			}
			box := image.Rect(x0, y0, x0+cell, y0+cell)
			draw.Draw(img, box, frame, image.Point{}, draw.Src)
			draw.CatmullRom.Scale(img, box.Inset(border), t.Image, t.Image.Bounds(), draw.Src, nil)
			for line, s := range []string{t.Caption, t.Note} {
				d := font.Drawer{Dst: img, Src: image.NewUniform(color.Gray{0x33}), Face: basicfont.Face7x13}
				s = cut(ascii(s), cell/7)
				d.Dot = fixed.P(x0+(cell-d.MeasureString(s).Round())/2, y0+cell+13+line*14)
				d.DrawString(s)
			}
		}
	}
	return img
}
