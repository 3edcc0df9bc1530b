package flows

import (
	"context"
	"fmt"
	"image"

	"github.com/contraflow/contraflow/io/report"
	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

// gallery is a pair of embedded halves of a data set, whose images can be shown.
type gallery struct {
	encoder    *Encoder
	train, val *FeatureSet
	data       [2]stages.Dataset // train, val
}

// newGallery embeds at most limit images of each half, evenly spread.
func newGallery(ctx context.Context, e *Encoder, folder string, limit int) (*gallery, error) {
	g := &gallery{encoder: e}
	for i, half := range []string{"train", "val"} {
		emb, err := e.Embedder(folder, half, "")
		if err != nil {
			return nil, err
		}
		g.data[i] = emb.decode.Data
		set, err := emb.Run(ctx, spread(g.data[i].Len(), limit))
		if err != nil {
			return nil, err
		}
		if i == 0 {
			g.train = set
		} else {
			g.val = set
		}
	}
	return g, sameClasses(folder, "train", g.data[0].Classes(), "val", g.data[1].Classes())
}

// encoderSection adds what the encoder of a training run shows: filters always, and what needs images when there are some.
func (r *runRecord) encoderSection(ctx context.Context, p *report.Page, o ReportOptions) error {
	bad := 0
	e, err := OpenEncoder(r.dir, Open{Threads: o.Threads, BadSamples: o.BadSamples, OnBad: func(name string, err error) {
		bad++
		if o.OnBad != nil {
			o.OnBad(name, err)
		}
	}})
	if err != nil {
		p.Notes = append(p.Notes, "No checkpoint could be opened, so there are no pictures of the encoder: "+firstLine(err))
		return nil
	}
	defer e.Close()
	if p.Filters, err = e.filters(); err != nil {
		return err
	}
	folder := o.DataFolder
	if folder == "" {
		folder = e.Options.Data.Folder
	}
	if folder == "" {
		folder = r.setting("data_folder")
	}
	p.Commands = append(p.Commands, report.Command{Does: "Score by nearest neighbours", Line: "contraflow knn --model_path " + shellQuote(r.dir) + " --data_folder " + shellQuote(folder)},
		report.Command{Does: "Score by a linear classifier", Line: "contraflow probe --model_path " + shellQuote(r.dir) + " --data_folder " + shellQuote(folder)})
	if o.Images < 1 {
		return nil
	}
	g, err := newGallery(ctx, e, folder, o.Images)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if o.DataFolder != "" { // a page without what was asked for must not take the place of a good one
			return err
		}
		p.Notes = append(p.Notes, "No images could be judged, so there are no neighbours, maps and confusion: "+firstLine(err)+". Give --data_folder.")
		return nil
	}
	noteBad(p, bad)
	predicted, err := DefaultKNN.Classify(g.train, g.val)
	if err != nil {
		return err
	}
	all := make([]probeGuess, len(predicted))
	right := 0
	for i, found := range predicted {
		all[i] = probeGuess{g.val.Labels[i], found}
		if found == g.val.Labels[i] {
			right++
		}
	}
	classes := g.data[0].Classes()
	c := report.Confusion{Note: fmt.Sprintf("kNN of %d validation images among %d training images, k %d.", g.val.Len(), g.train.Len(), min(DefaultKNN.K, g.train.Len())),
		Classes: classes, Counts: confusion(all, len(classes))}.Most(30)
	p.Confused = &c
	p.Summary = append(p.Summary, report.Fact{Name: "kNN top-1", Value: percent(float64(right) / float64(len(all))), Note: fmt.Sprintf("%d validation images", len(all))})
	if p.Queries, err = g.retrieval(ctx, 10, 8); err != nil {
		return err
	}
	return g.maps(ctx, p)
}

// noteBad tells a page of images that are left out.
func noteBad(p *report.Page, n int) {
	if n > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("Images that could not be read and are left out: %d.", n))
	}
}

// mapRows is the largest number of rows of a map.
const mapRows = 800

// maps lays validation features out in the plane.
func (g *gallery) maps(ctx context.Context, p *report.Page) error {
	rows, labels, classes := g.val.Rows, g.val.Labels, g.data[1].Classes()
	note := ""
	if n := g.val.Len(); n > mapRows {
		rows, labels = nil, nil
		for _, i := range spread(n, mapRows) {
			rows, labels = append(rows, g.val.Row(i)...), append(labels, g.val.Labels[i])
		}
		note = fmt.Sprintf(" %d of %d images.", mapRows, n)
	}
	pca, err := report.PCA(rows, g.val.Dim)
	if err != nil {
		return nil // too few images
	}
	p.Maps = append(p.Maps, report.Scatter{Title: "Principal components", Note: "Validation features on their first two." + note, Points: pca, Labels: labels, Classes: classes})
	tsne, err := report.TSNE(ctx, rows, g.val.Dim)
	if err != nil {
		return ctx.Err()
	}
	p.Maps = append(p.Maps, report.Scatter{Title: "t-SNE", Note: fmt.Sprintf("Near images stay near; distances between groups mean little. Perplexity %.2g.", report.Perplexity(len(labels))) + note, Points: tsne, Labels: labels, Classes: classes})
	return nil
}

// filters are pictures of the first convolution of every tower.
func (e *Encoder) filters() (out []report.Sheet, err error) {
	for v, p := range e.net.params {
		for _, s := range p.Specs() {
			if len(s.Shape) != 4 || s.Shape[1] > 3 {
				continue
			}
			w := make([]float32, s.Len())
			if err := p.Read(s.Name, w); err != nil {
				return nil, err
			}
			img, err := report.Filters(w, s.Shape[0], s.Shape[1], s.Shape[2])
			if err != nil {
				return nil, err
			}
			uri, err := report.PNG(img)
			if err != nil {
				return nil, err
			}
			name := "encoder"
			if v < len(e.views.names) {
				name = "tower " + e.views.names[v]
			}
			how := map[int]string{1: "grey", 2: "as the two colour channels of Lab", 3: "as red, green and blue"}[s.Shape[1]]
			out = append(out, report.Sheet{Caption: fmt.Sprintf("%s: %s, %d of %d×%d, %s", name, s.Name, s.Shape[0], s.Shape[2], s.Shape[3], how), Image: uri, Width: img.Bounds().Dx() * 3 / 2})
			break
		}
	}
	return out, nil
}

// retrieval picks n validation images, one a class as far as they go, and finds their k nearest training images.
func (g *gallery) retrieval(ctx context.Context, n, k int) ([]report.Query, error) {
	seen := map[int]bool{}
	var out []report.Query
	for i, l := range g.val.Labels {
		if seen[l] || len(out) == n {
			continue
		}
		seen[l] = true
		hits, err := g.nearest(g.val.Row(i), k)
		if err != nil {
			return nil, err
		}
		q := report.Query{Class: g.data[1].Classes()[l]}
		img, err := g.picture(ctx, 1, g.val.Index[i])
		if err != nil {
			continue // an unreadable image has nothing to show
		}
		if q.Image, err = report.DataURI(thumbnail(img)); err != nil {
			return nil, err
		}
		for _, h := range hits {
			img, err := g.picture(ctx, 0, g.train.Index[h.Row])
			if err != nil {
				continue
			}
			uri, err := report.DataURI(thumbnail(img))
			if err != nil {
				return nil, err
			}
			label := g.train.Labels[h.Row]
			q.Neighbours = append(q.Neighbours, report.Hit{Image: uri, Class: g.data[0].Classes()[label], Similarity: h.Similarity, Right: label == l})
		}
		out = append(out, q)
	}
	return out, ctx.Err()
}

// nearest are the k training rows most similar to one row of features.
func (g *gallery) nearest(row []float32, k int) ([]Neighbour, error) {
	hits, err := KNN{K: k, T: 1}.Search(g.train, &FeatureSet{Dim: g.train.Dim, Rows: row, Labels: []int{0}})
	if err != nil {
		return nil, err
	}
	return hits[0], nil
}

// picture decodes one image of a half for showing.
func (g *gallery) picture(ctx context.Context, half, i int) (image.Image, error) {
	raw, err := g.data[half].Read(ctx, i, nil)
	if err != nil {
		return nil, err
	}
	var p pixel.Picture
	if err := g.encoder.decoder.Decode(&p, raw); err != nil {
		return nil, err
	}
	return pictureImage(&p), nil
}

// pictureImage copies a picture into an image.
func pictureImage(p *pixel.Picture) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, p.W, p.H))
	for k := range p.W * p.H {
		copy(img.Pix[4*k:4*k+3], p.Pix[3*k:3*k+3])
		img.Pix[4*k+3] = 255
	}
	return img
}

// thumbnailSide is the side of the squares in grids, in pixels: twice what the page shows.
const thumbnailSide = 144

// thumbnail scales an image to a square, cutting off the longer side.
func thumbnail(img image.Image) image.Image { return square(img, thumbnailSide) }

func firstLine(err error) string {
	text := err.Error()
	for i, c := range text {
		if c == '\n' {
			return text[:i]
		}
	}
	return text
}
