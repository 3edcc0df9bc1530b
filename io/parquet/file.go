package parquet

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// file is one Parquet file whose rows can be read at their places.
type file struct {
	path   string
	os     *os.File
	groups []pq.RowGroup
	starts []int // index of the first row of every group
	n      int
	image  *pq.Column // the leaf of the bytes
	pages  [][]page   // of the image column, of every group

	labels []int32 // of every row; nil without a column of them, -1 for null
	names  []string
	texts  []string // that labels count, if they are texts
}

// openFile reads metadata, labels and the page headers of the image column.
func openFile(path string) (f *file, err error) {
	defer rescue(&err)
	r, size, err := stat(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	if err := footer(r, size); err != nil {
		return nil, err
	}
	p, err := pq.OpenFile(r, size, pq.SkipPageIndex(true), pq.SkipBloomFilters(true), pq.ReadBufferSize(256<<10))
	if err != nil {
		return nil, err
	}
	f = &file{path: path, os: r, groups: p.RowGroups()}
	for _, g := range f.groups {
		n := g.NumRows()
		if n < 0 || n > size-int64(f.n) { // an image takes more than a byte: what is reserved for rows is bounded by the file
			return nil, fmt.Errorf("%d rows and more in %d bytes: damaged, or a bomb", int64(f.n)+n, size)
		}
		f.starts = append(f.starts, f.n)
		f.n += int(n)
	}
	features := featuresOf(p)
	if f.image, err = imageColumn(p, features); err != nil {
		return nil, err
	}
	for g := range f.groups {
		pages, nulls, err := indexPages(r, size, p, g, f.image.Index())
		if err != nil {
			return nil, err
		}
		f.pages = append(f.pages, pages)
		if n := f.groups[g].NumRows(); n > 0 && nulls == n {
			return nil, fmt.Errorf("row group %d: none of its %d rows has image bytes: only images that are embedded can be read", g, n)
		}
	}
	return f, f.readLabels(p, size, features)
}

// footer refuses what would make the parser reserve more than the file has.
func footer(r io.ReaderAt, size int64) error {
	if size < 12 {
		return fmt.Errorf("%d bytes: not a Parquet file", size)
	}
	var tail [8]byte
	if _, err := r.ReadAt(tail[:], size-8); err != nil {
		return err
	}
	if string(tail[4:]) != "PAR1" {
		return errors.New("it does not end in PAR1: truncated, or not a Parquet file")
	}
	if n := int64(binary.LittleEndian.Uint32(tail[:])); n > size-12 {
		return fmt.Errorf("metadata of %d bytes in a file of %d: damaged", n, size)
	}
	return nil
}

// feature is what Hugging Face's metadata say of a column.
type feature struct {
	Type  string   `json:"_type"`
	Names []string `json:"names"`
}

func featuresOf(p *pq.File) map[string]feature {
	text, _ := p.Lookup("huggingface")
	var meta struct {
		Info struct {
			Features map[string]json.RawMessage `json:"features"`
		} `json:"info"`
	}
	out := map[string]feature{}
	if json.Unmarshal([]byte(text), &meta) != nil {
		return out
	}
	for name, raw := range meta.Info.Features {
		var f feature
		if json.Unmarshal(raw, &f) == nil { // columns of other kinds do not matter
			out[name] = f
		}
	}
	return out
}

// imageNames and labelNames are tried in order when the metadata leave a choice.
var (
	imageNames = []string{"image", "img", "jpg", "jpeg", "png", "image_bytes"}
	labelNames = []string{"label", "fine_label", "labels", "class", "cls"}
)

// imageColumn finds the leaf of the image bytes: NAME.bytes of a struct, or a column of bytes with such a name.
func imageColumn(p *pq.File, features map[string]feature) (*pq.Column, error) {
	found := map[string]*pq.Column{}
	var have []string
	for _, c := range p.Root().Columns() {
		have = append(have, c.Name())
		if c.Leaf() {
			if c.Type().Kind() == pq.ByteArray && slices.Contains(imageNames, c.Name()) && c.MaxRepetitionLevel() == 0 {
				found[c.Name()] = c
			}
			continue
		}
		if b := c.Column("bytes"); b != nil && b.Leaf() && b.Type().Kind() == pq.ByteArray && b.MaxRepetitionLevel() == 0 {
			found[c.Name()] = b
		}
	}
	for _, n := range imageNames {
		if c, ok := found[n]; ok {
			return c, nil
		}
	}
	var names []string
	for n := range found {
		if features[n].Type == "Image" || len(found) == 1 {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no column of images among %v: want a struct with bytes, named image or img", have)
	}
	return found[slices.Min(names)], nil
}

// readLabels reads the column of labels whole, if there is one.
func (f *file) readLabels(p *pq.File, size int64, features map[string]feature) error {
	var column *pq.Column
	best := len(labelNames)
	for _, c := range p.Root().Columns() {
		if !c.Leaf() || c.MaxRepetitionLevel() > 0 {
			continue
		}
		rank := slices.Index(labelNames, c.Name())
		if rank < 0 && features[c.Name()].Type == "ClassLabel" {
			rank = len(labelNames) - 1
		}
		if rank >= 0 && rank < best {
			column, best = c, rank
		}
	}
	if column == nil {
		return nil
	}
	kind := column.Type().Kind()
	if kind != pq.Int64 && kind != pq.Int32 && kind != pq.ByteArray {
		return fmt.Errorf("the labels of column %q are %v: want whole numbers or texts", column.Name(), kind)
	}
	f.labels, f.names = make([]int32, 0, f.n), features[column.Name()].Names
	number := map[string]int32{}
	for i, g := range f.groups {
		pages, _, err := indexPages(f.os, size, p, i, column.Index())
		for k := 0; err == nil && k < len(pages); k++ {
			if err = pages[k].guard(f.os, column); err != nil {
				err = fmt.Errorf("row group %d, column %q: %w", i, column.Name(), err)
			}
		}
		if err != nil {
			return err
		}
		err = values(g.ColumnChunks()[column.Index()], func(v pq.Value) error {
			switch {
			case v.IsNull():
				f.labels = append(f.labels, -1)
			case kind == pq.ByteArray:
				l, ok := number[string(v.ByteArray())]
				if !ok {
					l = int32(len(f.texts))
					f.texts = append(f.texts, string(v.ByteArray()))
					number[f.texts[l]] = l
				}
				f.labels = append(f.labels, l)
			default:
				n := v.Int64()
				if kind == pq.Int32 {
					n = int64(v.Int32())
				}
				if n < -1 || n > 1<<30 {
					return fmt.Errorf("label %d", n)
				}
				f.labels = append(f.labels, int32(n))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("column %q: %w", column.Name(), err)
		}
	}
	if len(f.labels) != f.n {
		return fmt.Errorf("%d labels for %d rows: damaged", len(f.labels), f.n)
	}
	return nil
}

// values shows every value of a column chunk.
func values(c pq.ColumnChunk, see func(pq.Value) error) error {
	pages := c.Pages()
	defer pages.Close()
	var buf [256]pq.Value
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r := page.Values()
		for {
			n, err := r.ReadValues(buf[:])
			for _, v := range buf[:n] {
				if err := see(v); err != nil {
					return err
				}
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
		}
		pq.Release(page)
	}
}

// maxPage bounds a decompressed page. One of more than freePage is at most maxGrowth times what is stored: the reader reserves what the header
// promises, for every worker.
const maxPage, freePage, maxGrowth = 1 << 30, 16 << 20, 100

// indexPages walks the page headers of a column chunk and gives it an index of them: without one, which few writers leave, each read would
// start at the head of the row group. Pages that leave the chunk, or promise too much, are refused. It counts the nulls that headers tell of.
func indexPages(r io.ReaderAt, size int64, p *pq.File, group, column int) (pages []page, nulls int64, err error) {
	meta := &p.Metadata().RowGroups[group]
	c := &meta.Columns[column]
	defer func() {
		if err != nil {
			err = fmt.Errorf("row group %d, column %q: %w", group, strings.Join(c.MetaData.PathInSchema, "."), err)
		}
	}()
	chunk, ok := p.RowGroups()[group].ColumnChunks()[column].(*pq.FileColumnChunk)
	if !ok {
		return nil, 0, errors.New("it cannot be read at a place")
	}
	if c.MetaData.Codec == format.Lz4Raw { // on damage its decoder doubles what it reserves until the process ends
		return nil, 0, errors.New("it is compressed with LZ4: write the file with snappy, gzip, zstd, brotli or without compression")
	}
	meta.Ordinal = int16(group) // optional in the file, and the reader goes by it
	at := c.MetaData.DataPageOffset
	if d := c.MetaData.DictionaryPageOffset; d > at {
		return nil, 0, fmt.Errorf("its dictionary at byte %d lies behind its pages at %d: damaged", d, at)
	} else if d > 0 {
		at = d
	}
	end := at + c.MetaData.TotalCompressedSize
	if at < 4 || end < at || end > size {
		return nil, 0, fmt.Errorf("it lies at bytes %d to %d of %d: truncated or damaged", at, end, size)
	}
	index := format.OffsetIndex{}
	rows := int64(0)
	for at < end {
		h, n, err := pageHeader(r, at, end)
		if err != nil {
			return nil, 0, fmt.Errorf("page at byte %d: %w", at, err)
		}
		next := at + int64(n) + int64(h.CompressedPageSize)
		if h.CompressedPageSize < 0 || next > end {
			return nil, 0, fmt.Errorf("page at byte %d: its %d bytes leave the column", at, h.CompressedPageSize)
		}
		if n := h.UncompressedPageSize; n < 0 || n > maxPage || n > freePage && n/maxGrowth > h.CompressedPageSize {
			return nil, 0, fmt.Errorf("page at byte %d: %d bytes decompressed: taken for a decompression bomb", at, h.UncompressedPageSize)
		}
		count, null, ok := valuesOf(h)
		if !ok || count > meta.NumRows-rows {
			return nil, 0, fmt.Errorf("page at byte %d: it has more values than there are rows, or bytes: damaged", at)
		}
		pages = append(pages, page{at: at, end: next, row: rows})
		if count > 0 {
			index.PageLocations = append(index.PageLocations, format.PageLocation{Offset: at, CompressedPageSize: int32(next - at), FirstRowIndex: rows})
			rows, nulls = rows+count, nulls+null
		}
		at = next
	}
	if rows != meta.NumRows {
		return nil, 0, fmt.Errorf("its pages have %d rows, want %d", rows, meta.NumRows)
	}
	text, err := thrift.Marshal(new(thrift.CompactProtocol), &index)
	if err != nil {
		return nil, 0, err
	}
	c.OffsetIndexOffset, c.OffsetIndexLength = 1, int32(len(text))
	_, err = chunk.OffsetIndexFrom(bytes.NewReader(append([]byte{0}, text...)))
	return pages, nulls, err
}

// valuesOf is the number of rows of a data page, and how many of them are null if the header says so. The reader reserves room for as many
// values as any header promises: those of a dictionary lie in its bytes, and a row of our columns has one.
func valuesOf(h *format.PageHeader) (count, nulls int64, ok bool) {
	if h.DictionaryPageHeader.Valid != (h.Type == format.DictionaryPage) { // the reader takes a page for a dictionary by its header
		return 0, 0, false
	}
	switch h.Type {
	case format.DataPage:
		v := &h.DataPageHeader.V
		return int64(v.NumValues), v.Statistics.NullCount, v.NumValues >= 0
	case format.DataPageV2:
		v := &h.DataPageHeaderV2.V
		return int64(v.NumValues), int64(v.NumNulls), v.NumValues >= 0 && v.NumRows == v.NumValues
	case format.DictionaryPage:
		return 0, 0, h.DictionaryPageHeader.V.NumValues <= h.UncompressedPageSize
	}
	return 0, 0, true
}

// pageHeader decodes the header at a place and says how long it is. Statistics may make it long.
func pageHeader(r io.ReaderAt, at, end int64) (*format.PageHeader, int, error) {
	for window := int64(256); ; window *= 16 {
		buf := make([]byte, min(window, end-at))
		if _, err := r.ReadAt(buf, at); err != nil {
			return nil, 0, err
		}
		in := new(thrift.CompactProtocol).NewReaderFromBytes(buf)
		h := &format.PageHeader{}
		err := thrift.NewDecoder(in).Decode(h)
		if err == nil {
			return h, in.BytesRead(), nil
		}
		if int64(len(buf)) < window || window > 1<<24 {
			return nil, 0, err
		}
	}
}
