package shard

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// row is the place of one sample's image in its shard.
type row struct {
	at    int64
	size  uint32
	sum   uint32 // CRC-32C of the bytes at the place, if summed
	label int32  // index of the shard's labels, or -1
	key   uint32 // end of the key in keys
	ext   uint8  // index of the shard's extensions
}

// index lists the samples of one shard.
type index struct {
	bytes  int64 // of the whole tar
	summed bool
	rows   []row
	keys   []byte
	labels []string // distinct texts of labels
	exts   []string // distinct extensions, "jpg", "ppm.zst"

	labelOf map[string]int32 // while it is built
	extOf   map[string]uint8
}

// maxSample bounds the bytes of one stored image.
const maxSample = 1 << 30

// add appends a sample. A label of "" is none.
func (x *index) add(key, ext, label string, at, size int64, sum uint32) error {
	if size < 0 || size > maxSample {
		return fmt.Errorf("sample %q has %d bytes: more than the %d that are read", key, size, maxSample)
	}
	if x.labelOf == nil {
		x.labelOf, x.extOf = map[string]int32{}, map[string]uint8{}
	}
	r := row{at: at, size: uint32(size), sum: sum, label: -1}
	if label != "" {
		l, ok := x.labelOf[label]
		if !ok {
			l = int32(len(x.labels))
			x.labels, x.labelOf[label] = append(x.labels, label), l
		}
		r.label = l
	}
	e, ok := x.extOf[ext]
	if !ok {
		if len(x.exts) > 255 {
			return errors.New("more than 256 different extensions")
		}
		e = uint8(len(x.exts))
		x.exts, x.extOf[ext] = append(x.exts, ext), e
	}
	r.ext = e
	x.keys = append(x.keys, key...)
	if len(x.keys) > 1<<31 {
		return errors.New("more than 2 GiB of keys")
	}
	r.key = uint32(len(x.keys))
	x.rows = append(x.rows, r)
	return nil
}

func (x *index) key(i int) string {
	from := uint32(0)
	if i > 0 {
		from = x.rows[i-1].key
	}
	return string(x.keys[from:x.rows[i].key])
}

func (x *index) label(i int) string {
	if l := x.rows[i].label; l >= 0 {
		return x.labels[l]
	}
	return ""
}

// magic is the first line of an index; it ends in the version.
const magic = "contraflow shard index 1"

// escape keeps fields and lines apart.
var (
	escape   = strings.NewReplacer("%", "%25", "\t", "%09", "\n", "%0A", "\r", "%0D")
	unescape = strings.NewReplacer("%25", "%", "%09", "\t", "%0A", "\n", "%0D", "\r")
)

// write puts the index out as text.
func (x *index) write(to io.Writer) error {
	w := &bytes.Buffer{}
	fmt.Fprintf(w, "%s\n%d\t%d\n", magic, x.bytes, len(x.rows))
	for i, r := range x.rows {
		sum := "-"
		if x.summed {
			sum = fmt.Sprintf("%08x", r.sum)
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\t%s\n", r.at, r.size, sum, escape.Replace(x.label(i)), escape.Replace(x.exts[r.ext]), escape.Replace(x.key(i)))
	}
	_, err := to.Write(summed(w.String()))
	return err
}

// summed ends a text as an index ends.
func summed(text string) []byte {
	return fmt.Appendf([]byte(text), "sum\t%08x\n", crc32.Checksum([]byte(text), castagnoli))
}

// parseIndex reads what write wrote, and refuses everything else: places outside the shard, a missing end, a wrong sum.
func parseIndex(text []byte) (*index, error) {
	at := bytes.LastIndexByte(bytes.TrimSuffix(text, []byte("\n")), '\n') + 1
	last := strings.TrimSuffix(string(text[at:]), "\n")
	sum, err := strconv.ParseUint(strings.TrimPrefix(last, "sum\t"), 16, 32)
	if err != nil || !strings.HasPrefix(last, "sum\t") {
		return nil, errors.New("the last line is not a sum: truncated, or not an index")
	}
	if got := crc32.Checksum(text[:at], castagnoli); got != uint32(sum) {
		return nil, fmt.Errorf("the sum is %08x, want %08x: damaged", got, sum)
	}
	x, body, n := &index{}, string(text[:at]), 0
	line := func() (string, bool) {
		l, rest, ok := strings.Cut(body, "\n")
		body = rest
		n++
		return l, ok
	}
	if first, _ := line(); first != magic {
		return nil, fmt.Errorf("it starts with %.40q, want %q", first, magic)
	}
	head, _ := line()
	var count int
	if _, err := fmt.Sscanf(head, "%d\t%d", &x.bytes, &count); err != nil || x.bytes < 0 || count < 0 {
		return nil, fmt.Errorf("line 2 is %.40q, want the bytes of the shard and its number of samples", head)
	}
	for {
		l, ok := line()
		if !ok {
			break
		}
		if err := x.parseRow(l); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if len(x.rows) != count {
		return nil, fmt.Errorf("%d samples, want %d", len(x.rows), count)
	}
	return x, nil
}

func (x *index) parseRow(l string) error {
	f := strings.Split(l, "\t")
	if len(f) != 6 {
		return fmt.Errorf("%d fields, want 6", len(f))
	}
	at, err1 := strconv.ParseInt(f[0], 10, 64)
	size, err2 := strconv.ParseInt(f[1], 10, 64)
	if err1 != nil || err2 != nil || at < 0 || size < 0 || at > x.bytes-size {
		return fmt.Errorf("%s bytes at %s do not lie within the %d of the shard", f[1], f[0], x.bytes)
	}
	var sum uint64
	if summed := f[2] != "-"; len(x.rows) == 0 {
		x.summed = summed
	} else if summed != x.summed {
		return errors.New("some samples have a checksum and some have none")
	}
	if x.summed {
		var err error
		if sum, err = strconv.ParseUint(f[2], 16, 32); err != nil {
			return fmt.Errorf("the checksum is %q", f[2])
		}
	}
	return x.add(unescape.Replace(f[5]), unescape.Replace(f[4]), unescape.Replace(f[3]), at, size, uint32(sum))
}
