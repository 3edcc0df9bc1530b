package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// page is where a page stands in the file, its header included.
type page struct {
	at, end int64
	row     int64 // the first, within its group
	guarded atomic.Bool
}

// guard looks, before the reader does, at what is needed for a row of the image column: its page and the first one, which may be a dictionary.
func (f *file) guard(group int, row int64) error {
	pages := f.pages[group]
	of := sort.Search(len(pages), func(i int) bool { return pages[i].row > row }) - 1
	for _, p := range []*page{&pages[0], &pages[of]} {
		if err := p.guard(f.os, f.image); err != nil {
			return err
		}
	}
	return nil
}

// guard refuses a page of which more would come than its header promises. The reader believes what stands within a page, the lengths of
// compressed data and of runs, and reserves what they say: gigabytes for a few bytes. A page is looked at once.
func (p *page) guard(r io.ReaderAt, c *pq.Column) error {
	if p.guarded.Load() {
		return nil
	}
	h, n, err := pageHeader(r, p.at, p.end)
	if err != nil {
		return err
	}
	body := make([]byte, h.CompressedPageSize)
	if _, err = r.ReadAt(body, p.at+int64(n)); err == nil {
		err = guardBody(h, body, c)
	}
	if err != nil {
		return fmt.Errorf("page at byte %d: %w", p.at, err)
	}
	p.guarded.Store(true)
	return nil
}

// guardBody decompresses a page and looks at its levels and values.
func guardBody(h *format.PageHeader, body []byte, c *pq.Column) (err error) {
	codec, levels, v2 := c.Compression().CompressionCodec(), []byte(nil), &h.DataPageHeaderV2.V
	if h.Type == format.DataPageV2 {
		repetition, both := int64(v2.RepetitionLevelsByteLength), int64(v2.RepetitionLevelsByteLength)+int64(v2.DefinitionLevelsByteLength)
		if repetition < 0 || both < repetition || both > int64(len(body)) {
			return errors.New("its levels leave it: damaged")
		}
		levels, body = body[repetition:both], body[both:]
		if v2.IsCompressed.Valid && !v2.IsCompressed.V {
			codec = format.Uncompressed
		}
	}
	if body, err = inflate(codec, body, int(h.UncompressedPageSize)); err != nil {
		return fmt.Errorf("damaged, or a bomb: %w", err)
	}
	switch h.Type {
	case format.DataPage:
		v := &h.DataPageHeader.V
		if c.MaxDefinitionLevel() > 0 {
			if len(body) < 4 || uint64(binary.LittleEndian.Uint32(body)) > uint64(len(body)-4) {
				return errors.New("its levels leave it: damaged")
			}
			n := 4 + binary.LittleEndian.Uint32(body)
			levels, body = body[4:n], body[n:]
		}
		if v.DefinitionLevelEncoding != format.RLE {
			levels = nil // packed, without runs
		}
		return guardValues(v.Encoding, int(v.NumValues), levels, body, c)
	case format.DataPageV2:
		return guardValues(v2.Encoding, int(v2.NumValues), levels, body, c)
	case format.DictionaryPage:
		if e := h.DictionaryPageHeader.V.Encoding; e != format.Plain && e != oldDictionary {
			return fmt.Errorf("a dictionary with the encoding %v: damaged", e)
		}
	}
	return nil
}

// oldDictionary is how files from before 2013 name RLEDictionary in data pages and Plain in dictionaries; some writers still do.
const oldDictionary format.Encoding = 2

// guardValues looks at the levels and the values of a page, decompressed.
func guardValues(encoding format.Encoding, count int, levels, values []byte, c *pq.Column) error {
	ok := c.MaxDefinitionLevel() == 0 || runs(levels, bits.Len(uint(c.MaxDefinitionLevel())), count)
	switch encoding {
	case format.Plain, format.ByteStreamSplit:
	case oldDictionary, format.RLEDictionary:
		ok = ok && (len(values) == 0 || runs(values[1:], int(values[0]), count))
	case format.DeltaBinaryPacked, format.DeltaLengthByteArray:
		n, _ := numbers(values)
		ok = ok && n <= uint64(count)
	case format.DeltaByteArray:
		n, rest := numbers(values)
		m, _ := numbers(rest)
		if ok = ok && n <= uint64(count) && m <= uint64(count); !ok {
			break
		}
		prefixes, err := pq.DeltaBinaryPacked.DecodeInt32(nil, values)
		if err != nil {
			return err
		}
		total := int64(len(values))
		for _, p := range prefixes {
			total += int64(p)
			ok = ok && p >= 0 && total <= max(freePage, maxGrowth*int64(len(values)))
		}
	default:
		return fmt.Errorf("values with the encoding %v, which is not one for images or labels", encoding)
	}
	if !ok {
		return fmt.Errorf("more comes of it than its %d values: damaged, or a bomb", count)
	}
	return nil
}

var unzstd = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderConcurrency(0))
})

// inflate decompresses to most bytes at most.
func inflate(codec format.CompressionCodec, data []byte, most int) (out []byte, err error) {
	var r io.Reader
	switch codec {
	case format.Uncompressed:
		return data, nil
	case format.Snappy:
		if n, err := snappy.DecodedLen(data); err == nil && n > most {
			return nil, fmt.Errorf("%d bytes, the header says %d", n, most)
		}
		return snappy.Decode(nil, data)
	case format.Zstd:
		d, err := unzstd()
		if err != nil {
			return nil, err
		}
		return d.DecodeAll(data, make([]byte, 0, most))
	case format.Gzip:
		if r, err = gzip.NewReader(bytes.NewReader(data)); err != nil {
			return nil, err
		}
	case format.Brotli:
		r = brotli.NewReader(bytes.NewReader(data))
	default:
		return nil, fmt.Errorf("it is compressed with %v", codec)
	}
	out, err = io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err == nil && len(out) > most {
		err = fmt.Errorf("more than the %d bytes that the header says", most)
	}
	return out, err
}

// filling is how many values more than it has a page may hold: the last run is filled to a multiple of 8, by some writers to 256.
const filling = 4096

// runs says whether runs of values, each equal or packed into width bits, are no more than count of them and the filling of the last.
func runs(b []byte, width, count int) bool {
	for left := uint64(count) + filling; len(b) > 0; {
		u, n := binary.Uvarint(b)
		if n <= 0 {
			return true // an error for whoever decodes
		}
		if b = b[n:]; u>>1 == 0 { // the reader goes on at once
			continue
		}
		values, size := u>>1, uint64(width+7)/8
		if u&1 == 1 {
			values, size = u>>1*8, u>>1*uint64(width)
		}
		if values > left || u>>1 > 1<<31 {
			return false
		}
		left -= values
		b = b[min(size, uint64(len(b))):]
	}
	return true
}

// numbers says how many delta-coded numbers stand at the beginning of b, and what is behind them.
func numbers(b []byte) (n uint64, rest []byte) {
	next := func() (v uint64) {
		v, k := binary.Uvarint(b)
		b = b[max(k, 0):]
		return v
	}
	block, minis := next(), next()
	n = next()
	next() // the first
	if minis == 0 {
		return n, nil
	}
	for left := n; left > 1 && len(b) > 0; {
		next() // the smallest difference
		widths := b[:min(minis, uint64(len(b)))]
		b = b[len(widths):]
		for _, w := range widths {
			if left <= 1 {
				break
			}
			b = b[min(block/minis*uint64(w)/8, uint64(len(b))):]
			left -= min(block/minis, left-1)
		}
	}
	return n, b
}
