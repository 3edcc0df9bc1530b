package shard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
)

// Set is one split of a data set in shards. It is safe for concurrent use.
type Set struct {
	classes []string
	shards  []opened
	starts  []int // index of the first sample of every shard
	n       int
}

// opened is a shard whose samples are known.
type opened struct {
	source
	*index
	class []int32 // of every label text
	known *Shard
}

// Open lists the samples of a split: "train", "val" or any other name. A place is a folder or the address of one, or names
// shards, and then all of them are taken whatever the split. ErrNone means that there are none.
func Open(ctx context.Context, where, split string) (*Set, error) {
	l, err := list(ctx, where, split)
	if err != nil {
		return nil, err
	}
	s := &Set{shards: make([]opened, len(l.sources))}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, src := range l.sources {
		g.Go(func() error {
			o := opened{source: src}
			if l.known != nil {
				o.known = &l.known[i]
			}
			err := o.open(gctx)
			if u := (*UnreachableError)(nil); errors.As(err, &u) { // whatever its reader took the failure for
				err = u
			}
			s.shards[i] = o
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i := range s.shards {
		s.starts = append(s.starts, s.n)
		s.n += len(s.shards[i].rows)
	}
	if s.n == 0 {
		return nil, fmt.Errorf("%s: the shards of %s hold no image", redactAny(where), split)
	}
	return s, s.label(l.manifest)
}

func redactAny(where string) string {
	if isURL(where) {
		return redact(where)
	}
	return where
}

// open finds the index of a shard and checks that it belongs to it.
func (o *opened) open(ctx context.Context) (err error) {
	if compressed(o.source) {
		o.source, o.index, err = plain(ctx, o.source)
		return err
	}
	text, err := o.readIndex(ctx)
	if err != nil {
		return err
	}
	if text == nil {
		o.index, err = scanned(ctx, o.source)
		return err
	}
	if o.index, err = parseIndex(text); err != nil {
		return fmt.Errorf("%s.idx: %w", o.name(), err)
	}
	if o.known != nil && (o.known.Bytes != o.bytes || o.known.Samples != len(o.rows)) {
		return fmt.Errorf("%s.idx: %d samples in %d bytes, want the %d in %d of %s", o.name(), len(o.rows), o.bytes, o.known.Samples, o.known.Bytes, ManifestName)
	}
	if _, far := o.source.(*remote); far { // the first read checks it
		return nil
	}
	n, err := o.size(ctx)
	if err != nil {
		return err
	}
	if n != o.bytes {
		return fmt.Errorf("%s: %d bytes, want %d: truncated, or not the shard of its index", o.name(), n, o.bytes)
	}
	return nil
}

// readIndex gives the index that lies beside the shard; nil is none. A manifest promises one.
func (o *opened) readIndex(ctx context.Context) ([]byte, error) {
	switch src := o.source.(type) {
	case file:
		text, err := os.ReadFile(string(src) + ".idx")
		if o.known == nil && (errors.Is(err, os.ErrNotExist) || !bytes.HasPrefix(text, []byte(magic))) {
			return nil, nil // none, or that of another program
		}
		return text, err
	case *remote:
		if o.known == nil {
			return nil, nil
		}
		path, query, ok := strings.Cut(src.url, "?")
		if ok {
			query = "?" + query
		}
		return get(ctx, src.client, path+".idx"+query, true)
	}
	return nil, nil
}

// label finds the classes: the manifest's, or numbers, of which -1 is none, or the texts of the labels, or the folders in the keys.
func (s *Set) label(m *Manifest) error {
	texts := map[string]bool{}
	for i := range s.shards {
		for _, t := range s.shards[i].labels {
			texts[t] = true
		}
	}
	folders := len(texts) == 0 && m == nil
	if folders && !s.labelByFolder(texts) {
		return nil
	}
	number := map[string]int32{}
	most := int64(-1)
	numbers := true
	for t := range texts {
		v, err := strconv.ParseInt(t, 10, 32)
		if numbers = err == nil && v >= -1; !numbers { // -1 is none
			break
		}
		number[t], most = int32(v), max(most, v)
	}
	switch {
	case m != nil:
		if !numbers || most >= int64(len(m.Classes)) {
			return fmt.Errorf("%s: a label is not the number of one of the %d classes of %s", s.shards[0].name(), len(m.Classes), ManifestName)
		}
		s.classes = m.Classes
	case numbers && !folders:
		if most > 1e6 {
			return fmt.Errorf("%s: label %d: more than a million classes", s.shards[0].name(), most)
		}
		for c := range most + 1 {
			s.classes = append(s.classes, strconv.FormatInt(c, 10))
		}
	default:
		for t := range texts {
			s.classes = append(s.classes, t)
		}
		slices.Sort(s.classes)
		for c, t := range s.classes {
			number[t] = int32(c)
		}
	}
	for i := range s.shards {
		o := &s.shards[i]
		o.class = make([]int32, len(o.labels))
		for k, t := range o.labels {
			o.class[k] = number[t]
		}
	}
	return nil
}

// labelByFolder takes the folder in the key for the label, if every sample has one.
func (s *Set) labelByFolder(texts map[string]bool) bool {
	folder := func(key string) string {
		if at := strings.LastIndexByte(key, '/'); at > 0 {
			return key[:at]
		}
		return ""
	}
	for i := range s.shards {
		for k := range s.shards[i].rows {
			if folder(s.shards[i].key(k)) == "" {
				return false
			}
		}
	}
	for i := range s.shards {
		x := s.shards[i].index
		of := map[string]int32{}
		for k := range x.rows {
			f := folder(x.key(k))
			l, ok := of[f]
			if !ok {
				l = int32(len(x.labels))
				of[f], x.labels = l, append(x.labels, f)
				texts[f] = true
			}
			x.rows[k].label = l
		}
	}
	return true
}

// Format says how the images are stored.
func (s *Set) Format() string { return "tar shards" }

// Len is the number of samples.
func (s *Set) Len() int { return s.n }

// Classes are the class names; nil without labels.
func (s *Set) Classes() []string { return s.classes }

// locate finds the shard of sample i, and its number there.
func (s *Set) locate(i int) (*opened, int) {
	k, found := slices.BinarySearch(s.starts, i)
	if !found {
		k--
	}
	for s.starts[k]+len(s.shards[k].rows) <= i { // shards without samples share a start
		k++
	}
	return &s.shards[k], i - s.starts[k]
}

// Label is the class of sample i, or -1.
func (s *Set) Label(i int) int {
	o, at := s.locate(i)
	if l := o.rows[at].label; l >= 0 {
		return int(o.class[l])
	}
	return -1
}

// Name is the shard of sample i and the name of its member.
func (s *Set) Name(i int) string {
	o, at := s.locate(i)
	return o.name() + ":" + o.key(at) + "." + o.exts[o.rows[at].ext]
}

// maxRaw bounds a member that is compressed by itself, decompressed.
const maxRaw = 256 << 20

var unzstd = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxRaw), zstd.WithDecoderMaxWindow(maxRaw), zstd.WithDecoderConcurrency(0))
	if err != nil {
		panic(err) // the options are constant
	}
	return d
})

var packed = sync.Pool{New: func() any { return new([]byte) }}

// Read returns the image of sample i, in buf when it fits, after checking its sum.
func (s *Set) Read(ctx context.Context, i int, buf []byte) ([]byte, error) {
	o, at := s.locate(i)
	r := o.rows[at]
	if r.size == 0 {
		return nil, errors.New("the member is empty")
	}
	zipped := strings.HasSuffix(o.exts[r.ext], ".zst")
	into := buf
	if zipped {
		p := packed.Get().(*[]byte)
		defer packed.Put(p)
		into = slices.Grow((*p)[:0], int(r.size))
		*p = into
	}
	if cap(into) < int(r.size) {
		into = make([]byte, r.size)
	}
	into = into[:r.size]
	err := o.fetch(ctx, into, r)
	if c, ok := o.source.(*copied); ok && err != nil && ctx.Err() == nil {
		err = c.renew(ctx, func() error { return o.fetch(ctx, into, r) })
	}
	if err != nil {
		return nil, err
	}
	if !zipped {
		return into, nil
	}
	out, err := unzstd().DecodeAll(into, buf[:0])
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return nil, fmt.Errorf("it grows beyond %d bytes when decompressed: taken for a decompression bomb", maxRaw)
	}
	if err != nil {
		return nil, fmt.Errorf("damaged zstd: %w", err)
	}
	return out, nil
}

// fetch reads the bytes of a sample and checks their sum.
func (o *opened) fetch(ctx context.Context, into []byte, r row) error {
	if err := o.readAt(ctx, into, r.at); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("the shard is truncated: it ends before byte %d", r.at+int64(r.size))
		}
		return err
	}
	if o.summed {
		if sum := crc32.Checksum(into, castagnoli); sum != r.sum {
			return fmt.Errorf("the checksum is %08x, want %08x: the shard is damaged", sum, r.sum)
		}
	}
	return nil
}

// Shards is the number of shards.
func (s *Set) Shards() int { return len(s.shards) }

// VerifyShard reads shard k whole and compares it with the manifest. It gives its name; without a manifest nothing is compared.
func (s *Set) VerifyShard(ctx context.Context, k int) (name string, compared bool, err error) {
	o := &s.shards[k]
	if o.known == nil {
		return o.name(), false, nil
	}
	h := sha256.New()
	w := &window{ctx: ctx, from: o.source, total: o.bytes, piece: 4 << 20}
	if _, err := io.Copy(h, io.NewSectionReader(w, 0, o.bytes)); err != nil {
		return o.name(), false, err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != o.known.SHA256 {
		return o.name(), true, fmt.Errorf("the SHA-256 sum is %s, want %s", sum, o.known.SHA256)
	}
	return o.name(), true, nil
}
