package parquet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"

	"github.com/contraflow/contraflow/io/parquet"
	"github.com/contraflow/contraflow/stages"
)

var _ stages.Dataset = (*parquet.Set)(nil)

var ctx = context.Background()

// picture is the column of Hugging Face.
type picture struct {
	Bytes []byte  `parquet:"bytes,optional"`
	Path  *string `parquet:"path,optional"`
}

type row struct {
	ID    string   `parquet:"id"`
	Image *picture `parquet:"image,optional"`
	Label int64    `parquet:"label"`
}

// dictRow has its images in a dictionary, as Arrow writes small ones.
type dictRow struct {
	Label *int32 `parquet:"fine_label,optional"`
	Img   struct {
		Bytes []byte `parquet:"bytes,optional,dict"`
		Path  string `parquet:"path,optional,dict"`
	} `parquet:"img"`
}

type textRow struct {
	Image []byte `parquet:"image"`
	Label string `parquet:"label,dict"`
}

func image(i int) []byte {
	b := bytes.Repeat([]byte{byte(i), byte(i * 7), 3}, 100+i%50)
	return append(b, fmt.Sprint("image ", i)...)
}

const hf = `{"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["tench", "goldfish", "shark"], "_type": "ClassLabel"}}}}`

// write writes rows in groups of 20, with pages of a few rows.
func write[T any](t testing.TB, path string, rows []T, options ...pq.WriterOption) {
	t.Helper()
	var b bytes.Buffer
	w := pq.NewGenericWriter[T](&b, append([]pq.WriterOption{pq.PageBufferSize(2000), pq.MaxRowsPerRowGroup(20)}, options...)...)
	for _, r := range rows {
		if _, err := w.Write([]T{r}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func rows(from, n int) (out []row) {
	for i := from; i < from+n; i++ {
		name := fmt.Sprint(i, ".jpg")
		out = append(out, row{ID: "x", Image: &picture{image(i), &name}, Label: int64(i % 3)})
	}
	return out
}

func same(t *testing.T, s *parquet.Set, n, from int, label func(i int) int) {
	t.Helper()
	if s.Len() != n {
		t.Fatalf("%d rows, want %d", s.Len(), n)
	}
	for k := range n {
		i := (k*11 + 5) % n
		got, err := s.Read(ctx, i, make([]byte, 0, 400))
		if err != nil || !bytes.Equal(got, image(from+i)) {
			t.Fatalf("row %d (%s) differs: %v", i, s.Name(i), err)
		}
		if s.Label(i) != label(from+i) {
			t.Errorf("row %d has label %d", i, s.Label(i))
		}
	}
}

// Any compression and either version of pages: rows in any order, and the halves by file name.
func TestRows(t *testing.T) {
	for name, options := range map[string][]pq.WriterOption{
		"plain": {pq.DataPageVersion(1)}, "snappy": {pq.Compression(&pq.Snappy), pq.DataPageVersion(1)},
		"zstd v2": {pq.Compression(&pq.Zstd), pq.DataPageVersion(2)}, "gzip": {pq.Compression(&pq.Gzip), pq.DataPageVersion(1)},
		"brotli v2": {pq.Compression(&pq.Brotli), pq.DataPageVersion(2)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			options = append(options, pq.KeyValueMetadata("huggingface", hf))
			write(t, filepath.Join(dir, "data", "train-00000-of-00002.parquet"), rows(0, 47), options...)
			write(t, filepath.Join(dir, "data", "train-00001-of-00002.parquet"), rows(47, 30), options...)
			write(t, filepath.Join(dir, "data", "validation-00000-of-00001.parquet"), rows(100, 9), options...)
			s, err := parquet.Open(ctx, dir, "train")
			if err != nil {
				t.Fatal(err)
			}
			same(t, s, 77, 0, func(i int) int { return i % 3 })
			if fmt.Sprint(s.Classes()) != "[tench goldfish shark]" {
				t.Errorf("classes %v", s.Classes())
			}
			if s.Name(50) != filepath.Join(dir, "data", "train-00001-of-00002.parquet:3") {
				t.Errorf("row 50 is %s", s.Name(50))
			}
			v, err := parquet.Open(ctx, dir, "val")
			if err != nil {
				t.Fatal(err)
			}
			same(t, v, 9, 100, func(i int) int { return i % 3 })
		})
	}
}

func TestColumns(t *testing.T) {
	dir := t.TempDir()
	var dicts []dictRow
	for i := range 50 {
		r := dictRow{}
		r.Img.Bytes, r.Img.Path = image(i%7), "a"
		if i != 3 {
			l := int32(i % 5)
			r.Label = &l
		}
		dicts = append(dicts, r)
	}
	path := filepath.Join(dir, "a.parquet")
	write(t, path, dicts)
	s, err := parquet.Open(ctx, path, "train")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if got, err := s.Read(ctx, i, nil); err != nil || !bytes.Equal(got, image(i%7)) {
			t.Errorf("row %d of a dictionary differs: %v", i, err)
		}
	}
	if s.Label(3) != -1 || s.Label(4) != 4 || fmt.Sprint(s.Classes()) != "[0 1 2 3 4]" {
		t.Errorf("labels %d and %d of %v", s.Label(3), s.Label(4), s.Classes())
	}
	var texts []textRow
	for i := range 30 {
		texts = append(texts, textRow{image(i), []string{"zebra", "ant"}[i%2]})
	}
	write(t, path, texts)
	if s, err = parquet.Open(ctx, path, "train"); err != nil {
		t.Fatal(err)
	}
	same(t, s, 30, 0, func(i int) int { return 1 - i%2 })
	if fmt.Sprint(s.Classes()) != "[ant zebra]" {
		t.Errorf("classes %v", s.Classes())
	}
	type none struct {
		Image picture `parquet:"image"`
	}
	write(t, path, []none{{picture{Bytes: image(0)}}, {}})
	if s, err = parquet.Open(ctx, path, "train"); err != nil || s.Label(0) != -1 || s.Classes() != nil {
		t.Fatalf("without labels: %v", err)
	}
	if _, err := s.Read(ctx, 1, nil); err == nil || !strings.Contains(err.Error(), "no image bytes") {
		t.Errorf("a null image: %v", err)
	}
}

// pages reads a file and finds the first page of a column.
func pages(t *testing.T, path, column string) (data []byte, at int64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := pq.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return data, f.Metadata().RowGroups[0].Columns[f.Root().Column(column).Index()].MetaData.DataPageOffset
}

// Characters that mean something in patterns mean nothing in the name of a folder or of a file that is there.
func TestOddPaths(t *testing.T) {
	for _, name := range []string{"set[1]", "st*r", "q?", "back\\slash"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Skip(err)
		}
		path := filepath.Join(dir, "train-0.parquet")
		write(t, path, rows(0, 4))
		for _, where := range []string{dir, path} {
			s, err := parquet.Open(ctx, where, "train")
			if err != nil {
				t.Errorf("%s: %v", where, err)
				continue
			}
			same(t, s, 4, 0, func(i int) int { return i % 3 })
		}
	}
}

func TestMistakes(t *testing.T) {
	if _, err := parquet.Open(ctx, t.TempDir(), "train"); !errors.Is(err, parquet.ErrNone) {
		t.Errorf("an empty folder: %v", err)
	}
	path := filepath.Join(t.TempDir(), "a.parquet")
	check := func(what, want string) {
		t.Helper()
		s, err := parquet.Open(ctx, path, "train")
		for i := 0; err == nil && i < s.Len(); i++ {
			_, err = s.Read(ctx, i, nil)
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %q", what, err, want)
		}
	}
	check("missing", "no file matches")
	type other struct {
		Text string `parquet:"text"`
	}
	write(t, path, []other{{"x"}})
	check("no images", "a.parquet: no column of images among [text]")
	write(t, path, []row{{Label: 7, Image: &picture{Bytes: image(0)}}}, pq.KeyValueMetadata("huggingface", hf))
	check("a label beyond the names", "label 7, and the metadata names 3")
	type sparse struct {
		Image []byte `parquet:"image,optional,dict"`
		Label *int64 `parquet:"label,optional,dict"`
	}
	write(t, path, make([]sparse, 50))
	check("nulls only", "none of its 20 rows has image bytes")
	write(t, path, make([]sparse, 20000), pq.MaxRowsPerRowGroup(20000))
	check("more rows than bytes", "20000 rows and more in")
	write(t, path, rows(0, 20), pq.DataPageVersion(1))
	lie, at := pages(t, path, "label")
	lie[at+int64(bytes.Index(lie[at:], []byte{0x15, 20 << 1}))+1] = 63 << 1 // NumValues of the first page
	os.WriteFile(path, lie, 0o644)
	check("a page of labels that promises too much", `row group 0, column "label": page at byte`)
	write(t, path, rows(0, 1), pq.Compression(&pq.Lz4Raw))
	check("LZ4", `row group 0, column "image.bytes": it is compressed with LZ4`)
	write(t, path, []textRow{{make([]byte, 17<<20), "a"}}, pq.Compression(&pq.Zstd))
	check("a page that grows", "bytes decompressed: taken for a decompression bomb")
	write(t, path, rows(0, 60), pq.Compression(&pq.Snappy))
	whole, _ := os.ReadFile(path)
	for n := 0; n < len(whole); n += len(whole)/50 + 1 {
		os.WriteFile(path, whole[:n], 0o644)
		check(fmt.Sprintf("cut at %d", n), "a.parquet")
	}
	lying := bytes.Clone(whole)
	copy(lying[len(lying)-8:], []byte{0xFF, 0xFF, 0xFF, 0x7F})
	os.WriteFile(path, lying, 0o644)
	check("lying metadata", "damaged")
	bad := bytes.Clone(whole)
	for i := 400; i < 460; i++ {
		bad[i] ^= 0x55
	}
	os.WriteFile(path, bad, 0o644)
	check("a damaged page", "")
}
