package flows

import (
	"context"
	"fmt"
	"strconv"

	"github.com/contraflow/contraflow/io/features"
)

// EmbedOptions say what EmbedFile writes.
type EmbedOptions struct {
	ModelPath  string
	DataFolder string
	Half       string // train or val
	Layer      int    // 0 is the layer before the embedding's head
	Out        string // .npy, .safetensors or .parquet
	Raw        bool   // features as they are; otherwise each tower's are scaled to length one
	Open              // its OnBad is told of images that have no row
}

// EmbedResult says what was written.
type EmbedResult struct {
	Files    []string `json:"files"`
	Images   int      `json:"images"`
	Bad      int      `json:"bad"` // images that could not be read
	Features int      `json:"features"`
	Layer    string   `json:"layer"`
	Model    string   `json:"model"`
}

// Check reports the first setting that makes no sense.
func (o EmbedOptions) Check() error {
	if err := features.Ending(o.Out); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	if o.Half != "train" && o.Half != "val" {
		return fmt.Errorf("--half %q: choose train or val", o.Half)
	}
	if o.ImageSize != 0 && (o.ImageSize < 32 || o.ImageSize > 4096) {
		return fmt.Errorf("--image_size %d: must be between 32 and 4096, or 0 for that of training", o.ImageSize)
	}
	return o.Open.Check()
}

// EmbedFile writes the features of one half of a data set, in its order, with index and label. An image that cannot be read has no
// row. Maps are flattened in C,H,W order, the towers one after the other.
func EmbedFile(ctx context.Context, o EmbedOptions) (*EmbedResult, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if err := takes(o.Out); err != nil {
		return nil, err
	}
	e, err := OpenEncoder(o.ModelPath, o.Open)
	if err != nil {
		return nil, fmt.Errorf("--model_path: %w", err)
	}
	defer e.Close()
	layer := e.Model.Features()
	if n := e.Model.Net.Layers(); o.Layer < 0 || o.Layer > n {
		return nil, fmt.Errorf("--layer %d: %s has layers 1 to %d, the last being the embedding", o.Layer, e.Model.Name, n)
	} else if o.Layer > 0 {
		layer = "layer" + strconv.Itoa(o.Layer)
	}
	emb, err := e.Embedder(o.DataFolder, o.Half, layer)
	if err != nil {
		return nil, err
	}
	emb.raw = o.Raw
	set, err := emb.Run(ctx, nil)
	if err != nil {
		return nil, err
	}
	data := emb.decode.Data
	out := &features.Set{Dim: set.Dim, Rows: set.Rows, Index: set.Index, Labels: set.Labels, Classes: data.Classes(),
		Meta: map[string]string{"model": e.Model.Name, "layer": layer, "encoder": o.ModelPath, "half": o.Half, "unit_length": strconv.FormatBool(!o.Raw)}}
	if len(o.Towers) > 0 {
		out.Meta["towers"] = (*intList)(&o.Towers).String()
	}
	for _, i := range set.Index {
		out.Names = append(out.Names, data.Name(i))
	}
	files, err := features.Write(o.Out, out)
	if err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	return &EmbedResult{Files: files, Images: set.Len(), Bad: emb.Bad(), Features: set.Dim, Layer: layer, Model: e.Model.Name}, nil
}
