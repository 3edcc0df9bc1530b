// Package jpeg decodes pictures: JPEG by its own decoder or by libjpeg-turbo, found when the program runs, PNG, BMP, TIFF, WebP and
// PNM besides. Whoever decodes, the pixels are those of Pillow's convert("RGB").
//
// The own decoder computes what libjpeg does (the accurate integer transform, interpolated chroma, 16-bit colour
// conversion), baseline and progressive, and transforms nothing outside the region that is asked for.
package jpeg

//go:generate sh -c "cd _gen && go run . .."
