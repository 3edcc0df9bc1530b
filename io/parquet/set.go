package parquet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	pq "github.com/parquet-go/parquet-go"
	"golang.org/x/sync/errgroup"
)

// ErrNone says that a place holds no Parquet file of a split.
var ErrNone = errors.New("no parquet files")

// Set is one split of a data set. It is safe for concurrent use.
type Set struct {
	classes []string
	files   []*file
	starts  []int // index of the first row of every file
	n       int
}

// aliases are the words that name a split in file names.
var aliases = map[string][]string{"train": {"train", "training"}, "val": {"val", "validation", "valid", "test"}}

// list finds the files of a split: those of where, where/data or where/SPLIT that have its name between punctuation, or one
// file or pattern that where is itself.
func list(where, split string) ([]string, error) {
	if strings.HasSuffix(where, ".parquet") {
		if _, err := os.Stat(where); err == nil {
			return []string{where}, nil
		}
		files, err := filepath.Glob(where)
		if err == nil && len(files) == 0 {
			err = fmt.Errorf("%s: no file matches", where)
		}
		return files, err
	}
	words := aliases[split]
	if words == nil {
		words = []string{split}
	}
	for _, w := range words {
		if all := filesOf(filepath.Join(where, w), func(string) bool { return true }); len(all) > 0 {
			return all, nil
		}
		for _, dir := range []string{where, filepath.Join(where, "data")} {
			named := filesOf(dir, func(name string) bool {
				parts := strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' || r == '.' })
				return slices.Contains(parts, w)
			})
			if len(named) > 0 {
				return named, nil
			}
		}
	}
	return nil, ErrNone
}

// filesOf lists the Parquet files of a folder that are wanted; one that cannot be read has none.
func filesOf(dir string, want func(name string) bool) (out []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".parquet") && want(e.Name()) {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out
}

// Open lists the rows of a split. A place is a folder, a file or a pattern.
func Open(ctx context.Context, where, split string) (*Set, error) {
	paths, err := list(where, split)
	if err != nil {
		return nil, err
	}
	s := &Set{files: make([]*file, len(paths))}
	g, _ := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, p := range paths {
		g.Go(func() (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if s.files[i], err = openFile(p); err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, f := range s.files {
		s.starts = append(s.starts, s.n)
		s.n += f.n
	}
	if s.n == 0 {
		return nil, fmt.Errorf("%s: the files of %s hold no row", where, split)
	}
	return s, s.label()
}

// label makes the classes: the names in the metadata, else numbers, else the distinct texts.
func (s *Set) label() error {
	first := s.files[0]
	most, texts := -1, map[string]bool{}
	for _, f := range s.files {
		if (f.labels == nil) != (first.labels == nil) || !slices.Equal(f.names, first.names) {
			return fmt.Errorf("%s and %s have different labels: they do not belong to one data set", first.path, f.path)
		}
		for _, l := range f.labels {
			most = max(most, int(l))
		}
		for _, t := range f.texts {
			texts[t] = true
		}
	}
	switch {
	case first.labels == nil:
		return nil
	case len(first.names) > 0:
		s.classes = first.names
	case len(texts) > 0:
		for t := range texts {
			s.classes = append(s.classes, t)
		}
		slices.Sort(s.classes)
		for _, f := range s.files {
			for i, l := range f.labels {
				if l >= 0 {
					f.labels[i] = int32(slices.Index(s.classes, f.texts[l]))
				}
			}
		}
		return nil
	default:
		if most > 1e6 {
			return fmt.Errorf("%s: label %d: more than a million classes", first.path, most)
		}
		for c := range most + 1 {
			s.classes = append(s.classes, fmt.Sprint(c))
		}
	}
	if most >= len(s.classes) {
		return fmt.Errorf("%s: label %d, and the metadata names %d classes", first.path, most, len(s.classes))
	}
	return nil
}

// Format says how the images are stored.
func (s *Set) Format() string { return "parquet" }

// Len is the number of rows.
func (s *Set) Len() int { return s.n }

// Classes are the class names; nil without labels.
func (s *Set) Classes() []string { return s.classes }

// locate finds the file of row i, and its number there.
func (s *Set) locate(i int) (*file, int) {
	k, found := slices.BinarySearch(s.starts, i)
	if !found {
		k--
	}
	for s.starts[k]+s.files[k].n <= i { // files without rows share a start
		k++
	}
	return s.files[k], i - s.starts[k]
}

// Label is the class of row i, or -1.
func (s *Set) Label(i int) int {
	f, at := s.locate(i)
	if f.labels == nil {
		return -1
	}
	return int(f.labels[at])
}

// Name is the file and the number of row i in it.
func (s *Set) Name(i int) string {
	f, at := s.locate(i)
	return fmt.Sprintf("%s:%d", f.path, at)
}

// Read returns the image of row i, in buf when it fits.
func (s *Set) Read(_ context.Context, i int, buf []byte) ([]byte, error) {
	f, at := s.locate(i)
	return f.read(at, buf)
}

// read decompresses the page of a row and copies its image.
func (f *file) read(row int, buf []byte) (out []byte, err error) {
	defer rescue(&err)
	g, found := slices.BinarySearch(f.starts, row)
	if !found {
		g--
	}
	for f.starts[g]+int(f.groups[g].NumRows()) <= row {
		g++
	}
	at := int64(row - f.starts[g])
	if err := f.guard(g, at); err != nil {
		return nil, err
	}
	pages := f.groups[g].ColumnChunks()[f.image.Index()].Pages()
	defer pages.Close()
	if err := pages.SeekToRow(at); err != nil {
		return nil, err
	}
	page, err := pages.ReadPage()
	if err != nil {
		return nil, err
	}
	defer pq.Release(page)
	var v [1]pq.Value
	if n, err := page.Values().ReadValues(v[:]); n < 1 {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if v[0].IsNull() {
		return nil, errors.New("the row has no image bytes: only images that are embedded can be read")
	}
	return append(buf[:0], v[0].ByteArray()...), nil
}

// rescue makes an error of a panic in the decoder: files are input.
func rescue(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("damaged: %v", r)
	}
}

func stat(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}
