package flows

import (
	"context"
	"fmt"
	"math"
	"runtime"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
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
	n := data.Len()
	if limit > 0 {
		n = min(n, limit)
	}
	if s, err = colourStats(ctx, data, d, space, n, runtime.GOMAXPROCS(0)); err != nil {
		return s, fmt.Errorf("--data_folder %s: %w", folder, err)
	}
	return s, nil
}

// imageColours is what one image adds.
type imageColours struct {
	mean, square [3]float64
	pixels       int64
	err          error // it could not be read
}

// colourStats measures n images of a data set. They are added in their order, so any number of workers gives the same bits.
func colourStats(ctx context.Context, data stages.Dataset, d *jpeg.Decoder, space pixel.Space, n, workers int) (ColourStats, error) {
	s := ColourStats{View: space.Name}
	g := contraflow.New("stats")
	plans := contraflow.Source(g, "plan", stages.Sampler{N: n, Batch: min(perPlan, n), Epochs: 1, Ordered: true}.Plans())
	found := contraflow.Step(plans, "measure", func(ctx context.Context, p stages.Plan) ([]imageColours, error) {
		out := make([]imageColours, len(p.Index))
		var pic pixel.Picture
		var buf []byte
		for k, i := range p.Index {
			bad, err := readPicture(ctx, data, d, i*data.Len()/n, &pic, &buf)
			if err != nil {
				return nil, err
			}
			if out[k].err = bad; bad == nil {
				out[k].mean, out[k].square = moments(space, &pic)
				out[k].pixels = int64(pic.W) * int64(pic.H)
			}
		}
		return out, nil
	}, contraflow.Workers(workers))
	var sum, square [3]float64
	var last error
	contraflow.Each(found, "add", func(_ context.Context, list []imageColours) error {
		for _, m := range list {
			if m.err != nil {
				s.Bad++
				last = m.err
				continue
			}
			for c := range 3 {
				sum[c] += m.mean[c]
				square[c] += m.square[c]
			}
			s.Images++
			s.Pixels += m.pixels
		}
		return nil
	})
	if err := g.Run(ctx); err != nil {
		return s, err
	}
	if s.Images == 0 {
		return s, fmt.Errorf("none of %d images could be read: %w", n, last)
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
