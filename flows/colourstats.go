package flows

import (
	"context"
	"fmt"
	"math"

	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/ops/pixel"
)

// ColourStats are means and deviations of the channels of a colour space over the pixels of a data set.
type ColourStats struct {
	View   string     `json:"view"`
	Mean   [3]float64 `json:"mean"`
	Std    [3]float64 `json:"std"`
	Images int        `json:"images"`
	Pixels int64      `json:"pixels"`
	Bad    int        `json:"bad"`
}

// DataStats reads at most limit training images, evenly spread (0: all), and measures every pixel of each, weighing images
// alike whatever their size.
func DataStats(ctx context.Context, folder, view, decoder string, limit int) (ColourStats, error) {
	s := ColourStats{}
	space, err := pixel.LookupSpace(view)
	if err != nil {
		return s, fmt.Errorf("--view: %w", err)
	}
	o := Defaults("cmc")
	o.Data.Folder = folder
	data, err := openData(o, "train", false)
	if err != nil {
		return s, err
	}
	d, err := jpeg.Open(decoder)
	if err != nil {
		return s, err
	}
	s.View = space.Name
	n := data.Len()
	if limit > 0 {
		n = min(n, limit)
	}
	var sum, square [3]float64
	var p pixel.Picture
	var buf []byte
	for i := range n {
		if err := ctx.Err(); err != nil {
			return s, err
		}
		if buf, err = data.Read(ctx, i*data.Len()/n, buf); err == nil {
			err = d.Decode(&p, buf)
		}
		if unreachable(err) {
			return s, err
		}
		if err != nil {
			s.Bad++
			continue
		}
		m, q := moments(space, &p)
		for c := range 3 {
			sum[c] += m[c]
			square[c] += q[c]
		}
		s.Images++
		s.Pixels += int64(p.W) * int64(p.H)
	}
	if s.Images == 0 {
		return s, fmt.Errorf("--data_folder %s: none of %d images could be read: %w", folder, n, err)
	}
	for c := range 3 {
		s.Mean[c] = sum[c] / float64(s.Images)
		s.Std[c] = math.Sqrt(max(0, square[c]/float64(s.Images)-s.Mean[c]*s.Mean[c]))
	}
	return s, nil
}

// moments are the means of the channels of one picture and of their squares.
func moments(space pixel.Space, p *pixel.Picture) (mean, square [3]float64) {
	n := p.W * p.H
	for i := range n {
		v := space.Convert(p.Pix[3*i], p.Pix[3*i+1], p.Pix[3*i+2])
		for c := range 3 {
			mean[c] += v[c]
			square[c] += v[c] * v[c]
		}
	}
	for c := range 3 {
		mean[c] /= float64(n)
		square[c] /= float64(n)
	}
	return mean, square
}
