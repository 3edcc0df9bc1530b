package features

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/io/safetensors"
)

// Set is the features of some images of a data set.
type Set struct {
	Dim     int
	Rows    []float32         // [N,Dim]
	Index   []int             // [N], positions in the data set
	Labels  []int             // [N]
	Names   []string          // [N], where each image comes from
	Classes []string          // by label
	Meta    map[string]string // encoder, layer and the like
}

// Formats are the endings that Write knows.
const Formats = ".npy, .safetensors or .parquet"

// Ending says whether Write knows the ending of a path.
func Ending(path string) error {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".npy", ".safetensors", ".parquet":
		return nil
	}
	return fmt.Errorf("%s has an ending that is no format of features: expected %s", path, Formats)
}

// Write writes s to path in the format of its ending, whole or not at all, and returns the files it wrote:
//
//	.npy          features [N,D] float32, and beside it NAME.index.npy and NAME.label.npy, int64 [N]
//	.safetensors  features, index, label; classes and what the features are of in the metadata
//	.parquet      one row an image: index, label, class, name, features (a list of float)
func Write(path string, s *Set) ([]string, error) {
	if err := Ending(path); err != nil {
		return nil, err
	}
	n := len(s.Labels)
	if len(s.Rows) != n*s.Dim || len(s.Index) != n {
		return nil, fmt.Errorf("features: %d values, %d labels and %d indices are not rows of %d", len(s.Rows), n, len(s.Index), s.Dim)
	}
	rows := raw.FromFloat32("features", []int{n, s.Dim}, s.Rows)
	index, label := raw.FromInt64("index", []int{n}, wide(s.Index)), raw.FromInt64("label", []int{n}, wide(s.Labels))
	switch strings.ToLower(filepath.Ext(path)) {
	case ".npy":
		base := strings.TrimSuffix(path, filepath.Ext(path))
		files := []string{base + ".index.npy", base + ".label.npy", path}
		for i, a := range []struct {
			head []byte
			t    raw.Tensor
		}{{npyHeader("<i8", fmt.Sprintf("%d,", n)), index}, {npyHeader("<i8", fmt.Sprintf("%d,", n)), label}, {header(n, s.Dim), rows}} {
			if err := replace(files[i], func(w io.Writer) error {
				if _, err := w.Write(a.head); err != nil {
					return err
				}
				_, err := w.Write(a.t.Data)
				return err
			}); err != nil {
				return nil, err
			}
		}
		return files, nil
	case ".safetensors":
		classes, err := json.Marshal(s.Classes)
		if err != nil {
			return nil, err
		}
		meta := map[string]string{"classes": string(classes)}
		for k, v := range s.Meta {
			meta[k] = v
		}
		return []string{path}, replace(path, func(w io.Writer) error { return safetensors.Write(w, []raw.Tensor{rows, index, label}, meta) })
	}
	return []string{path}, replace(path, func(w io.Writer) error { return writeParquet(w, s) })
}

func wide(v []int) []int64 {
	out := make([]int64, len(v))
	for i, x := range v {
		out[i] = int64(x)
	}
	return out
}

// Row is one row of a parquet file.
type Row struct {
	Index    int64     `parquet:"index"`
	Label    int64     `parquet:"label"`
	Class    string    `parquet:"class,dict"`
	Name     string    `parquet:"name"`
	Features []float32 `parquet:"features,list"`
}

func writeParquet(w io.Writer, s *Set) error {
	options := []parquet.WriterOption{parquet.Compression(&parquet.Zstd)}
	for k, v := range s.Meta {
		options = append(options, parquet.KeyValueMetadata(k, v))
	}
	p := parquet.NewGenericWriter[Row](w, options...)
	const block = 1024
	for at := 0; at < len(s.Labels); at += block {
		var rows []Row
		for i := at; i < min(len(s.Labels), at+block); i++ {
			r := Row{Index: int64(s.Index[i]), Label: int64(s.Labels[i]), Features: s.Rows[i*s.Dim:][:s.Dim]}
			if l := s.Labels[i]; l >= 0 && l < len(s.Classes) {
				r.Class = s.Classes[l]
			}
			if i < len(s.Names) {
				r.Name = s.Names[i]
			}
			rows = append(rows, r)
		}
		if _, err := p.Write(rows); err != nil {
			return err
		}
	}
	return p.Close()
}

// replace writes beside path, syncs, and renames.
func replace(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-"+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("%s: %w", path, err)
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
