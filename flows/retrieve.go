package flows

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/contraflow/contraflow/io/report"
	"github.com/contraflow/contraflow/ops/pixel"
)

// RetrieveOptions say whose neighbours Retrieve looks for.
type RetrieveOptions struct {
	ModelPath  string
	DataFolder string
	Images     []string // files of queries
	Index      []int    // queries among the validation images
	K          int
	Limit      int    // largest number of training images to search, evenly spread; 0 is all
	Out        string // .png
	Open              // its OnBad is told of training images, which are not searched
}

// Retrieved are the neighbours of one query.
type Retrieved struct {
	Query      string      `json:"query"`
	Class      string      `json:"class,omitempty"` // of a validation image
	Neighbours []Retrieval `json:"neighbours"`
}

// Retrieval is one neighbour, nearest first.
type Retrieval struct {
	Image      string  `json:"image"`
	Index      int     `json:"index"`
	Class      string  `json:"class"`
	Similarity float64 `json:"similarity"`
}

// Retrieve finds the training images whose features are most similar to those of the queries, and draws them as one picture, a
// row a query.
func Retrieve(ctx context.Context, o RetrieveOptions) ([]Retrieved, error) {
	if err := cmp.Or(CheckPNG(o.Out), takes(o.Out)); err != nil {
		return nil, err
	}
	e, err := OpenEncoder(o.ModelPath, o.Open)
	if err != nil {
		return nil, fmt.Errorf("--model_path: %w", err)
	}
	defer e.Close()
	emb, err := e.Embedder(o.DataFolder, "train", "")
	if err != nil {
		return nil, err
	}
	g := &gallery{encoder: e}
	g.data[0] = emb.decode.Data
	limit := o.Limit
	if limit == 0 {
		limit = g.data[0].Len()
	}
	if g.train, err = emb.Run(ctx, spread(g.data[0].Len(), limit)); err != nil {
		return nil, err
	}
	var out []Retrieved
	var rows []report.Strip
	add := func(name, class string, set *FeatureSet, half, i int, at int) error {
		hits, err := g.nearest(set.Row(at), o.K)
		if err != nil {
			return err
		}
		img, err := g.picture(ctx, half, i)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r, caption := Retrieved{Query: name, Class: class}, class
		if class == "" {
			caption = filepath.Base(name)
		}
		strip := report.Strip{{Image: thumbnail(img), Caption: caption}}
		for _, h := range hits {
			id, label := g.train.Index[h.Row], g.data[0].Classes()[g.train.Labels[h.Row]]
			img, err := g.picture(ctx, 0, id)
			if err != nil {
				return fmt.Errorf("%s: %w", g.data[0].Name(id), err)
			}
			frame := report.Plain
			if class != "" {
				if frame = report.Wrong; class == label {
					frame = report.Right
				}
			}
			strip = append(strip, report.Tile{Image: thumbnail(img), Caption: label, Note: fmt.Sprintf("%.2f", h.Similarity), Frame: frame})
			r.Neighbours = append(r.Neighbours, Retrieval{Image: g.data[0].Name(id), Index: id, Class: label, Similarity: h.Similarity})
		}
		out, rows = append(out, r), append(rows, strip)
		return nil
	}
	if len(o.Images) > 0 {
		if err := g.files(ctx, o.Images, add); err != nil {
			return nil, err
		}
	}
	if len(o.Index) > 0 {
		val, err := e.Embedder(o.DataFolder, "val", "")
		if err != nil {
			return nil, err
		}
		g.data[1] = val.decode.Data
		for _, i := range o.Index {
			if i < 0 || i >= g.data[1].Len() {
				return nil, fmt.Errorf("--index %d: there are %d validation images, counted from 0", i, g.data[1].Len())
			}
		}
		var unread error
		val.OnBad = func(name string, err error) { unread = fmt.Errorf("--index: %s: %w", name, err) }
		set, err := val.Run(ctx, o.Index)
		if err = errors.Join(err, unread); err != nil {
			return nil, err
		}
		for at, i := range o.Index {
			if err := add(g.data[1].Name(i), g.data[1].Classes()[g.data[1].Label(i)], set, 1, i, at); err != nil {
				return nil, err
			}
		}
	}
	picture := report.Grid(rows)
	return out, WritePNG(o.Out, picture)
}

// files embeds image files and passes each on.
func (g *gallery) files(ctx context.Context, paths []string, add func(name, class string, set *FeatureSet, half, i, at int) error) error {
	for _, p := range paths { // a query must not be replaced by another image, as unreadable samples of a data set are
		raw, err := os.ReadFile(p)
		if err != nil {
			return fmt.Errorf("--image: %w", err)
		}
		var picture pixel.Picture
		if err := g.encoder.decoder.Decode(&picture, raw); err != nil {
			return fmt.Errorf("--image %s: %w", p, err)
		}
	}
	e := g.encoder
	decode, err := newDecode(e.Options, fileSet(paths), e.decoder, e.views, true)
	if err != nil {
		return err
	}
	emb, err := newEmbedder(e.Options, e.net, e.views, decode, e.Model.Features(), e.towers)
	if err != nil {
		return err
	}
	set, err := emb.Run(ctx, nil)
	if err != nil {
		return err
	}
	g.data[1] = fileSet(paths)
	for i, p := range paths {
		if err := add(p, "", set, 1, i, i); err != nil {
			return err
		}
	}
	return nil
}

// fileSet is a data set of files without classes.
type fileSet []string

func (f fileSet) Len() int          { return len(f) }
func (f fileSet) Classes() []string { return []string{""} }
func (f fileSet) Label(int) int     { return 0 }
func (f fileSet) Name(i int) string { return f[i] }

func (f fileSet) Read(_ context.Context, i int, _ []byte) ([]byte, error) { return os.ReadFile(f[i]) }
