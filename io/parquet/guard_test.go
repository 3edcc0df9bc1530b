package parquet_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/contraflow/contraflow/io/parquet"
)

// craft writes a file whose one row stands in one page of the column "image", which is what the test says it is.
func craft(t testing.TB, path string, codec format.CompressionCodec, nullable bool, encoding format.Encoding, promised int32, body []byte) {
	t.Helper()
	text := func(v any) []byte {
		b, err := thrift.Marshal(new(thrift.CompactProtocol), v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	repetition := format.Required
	if nullable {
		repetition = format.Optional
	}
	head := text(&format.PageHeader{Type: format.DataPage, UncompressedPageSize: promised, CompressedPageSize: int32(len(body)),
		DataPageHeader: thrift.New(format.DataPageHeader{NumValues: 1, Encoding: encoding, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE})})
	size := int64(len(head) + len(body))
	foot := text(&format.FileMetaData{Version: 1, NumRows: 1,
		Schema: []format.SchemaElement{
			{Name: "schema", NumChildren: thrift.New(int32(1))},
			{Name: "image", Type: thrift.New(format.ByteArray), RepetitionType: thrift.New(repetition)},
		},
		RowGroups: []format.RowGroup{{NumRows: 1, TotalByteSize: size, Columns: []format.ColumnChunk{{
			MetaData: format.ColumnMetaData{Type: format.ByteArray, Encoding: []format.Encoding{encoding}, PathInSchema: []string{"image"},
				Codec: codec, NumValues: 1, TotalUncompressedSize: size, TotalCompressedSize: size, DataPageOffset: 4},
		}}}}})
	file := bytes.Join([][]byte{[]byte("PAR1"), head, body, foot, binary.LittleEndian.AppendUint32(nil, uint32(len(foot))), []byte("PAR1")}, nil)
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A page that says too much of itself is refused before gigabytes are reserved for it: whatever its compression, its levels and its encoding.
func TestPagesThatGrow(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(make([]byte, 32<<20))
	z.Close()
	one := "\x04\x00\x00\x00abcd"
	numbers := func(first, many string) string { return "\x80\x01\x04" + many + first } // in blocks of 128: how many, the first
	huge := string(binary.AppendUvarint(nil, 1<<31-1))
	path := filepath.Join(t.TempDir(), "a.parquet")
	for name, c := range map[string]struct {
		codec    format.CompressionCodec
		nullable bool
		encoding format.Encoding
		promised int32
		body     string
		want     string
	}{
		"nothing wrong":           {promised: 8, body: one},
		"levels, nothing wrong":   {nullable: true, promised: 14, body: "\x02\x00\x00\x00\x02\x01" + one},
		"levels filled to 256":    {nullable: true, promised: 45, body: "\x21\x00\x00\x00\x41\x01" + strings.Repeat("\x00", 31) + one},
		"a suffix, nothing wrong": {encoding: format.DeltaByteArray, promised: 14, body: numbers("\x00", "\x01") + numbers("\x08", "\x01") + "abcd"},
		"snappy of 4 GB":          {codec: format.Snappy, promised: 8, body: "\xff\xff\xff\xff\x0f" + one, want: "damaged, or a bomb: 4294967295 bytes"},
		"zstd of 63 GB": {codec: format.Zstd, promised: 8, body: "\x28\xb5\x2f\xfd\xc0\x00\x00\x00\x00\xc0\x0f\x00\x00\x00" + one,
			want: "damaged, or a bomb"},
		"zstd of one byte": {codec: format.Zstd, promised: 8, body: "\x28\xb5\x2f\xfd\x00\x88" + strings.Repeat("\x02\x00\x10a", 2000) + "\x03\x00\x10a",
			want: "damaged, or a bomb"}, // 2001 blocks of 128 KiB
		"gzip":               {codec: format.Gzip, promised: 8, body: zipped.String(), want: "more than the 8 bytes"},
		"a run of levels":    {nullable: true, promised: 18, body: "\x06\x00\x00\x00" + string(binary.AppendUvarint(nil, 1<<32-2)) + "\x01" + one, want: "more comes of it"},
		"an empty run first": {nullable: true, promised: 18, body: "\x06\x00\x00\x00\x00\x80\x80\x80\x01\x01" + one, want: "more comes of it"},
		"a run of indices":   {encoding: format.RLEDictionary, promised: 7, body: "\x01" + string(binary.AppendUvarint(nil, 1<<32-2)) + "\x00", want: "more comes of it"},
		"packed in no bits":  {encoding: format.RLEDictionary, promised: 7, body: "\x00" + string(binary.AppendUvarint(nil, 1<<32-1)), want: "more comes of it"},
		"lengths":            {encoding: format.DeltaLengthByteArray, promised: 9, body: numbers("\x08", huge), want: "more comes of it"},
		"prefixes":           {encoding: format.DeltaByteArray, promised: 9, body: numbers("\x00", huge), want: "more comes of it"},
		"suffixes":           {encoding: format.DeltaByteArray, promised: 14, body: numbers("\x00", "\x01") + numbers("\x08", huge), want: "more comes of it"},
		"a prefix":           {encoding: format.DeltaByteArray, promised: 14, body: numbers("\xfe\xff\xff\xff\x0f", "\x01") + numbers("\x08", "\x01") + "abcd", want: "more comes of it"},
		"an odd encoding":    {encoding: format.RLE, promised: 6, body: "\x02\x00\x00\x00\x02\x01", want: "encoding RLE"},
	} {
		craft(t, path, c.codec, c.nullable, c.encoding, c.promised, []byte(c.body))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := parquet.Open(ctx, path, "train")
		var got []byte
		if err == nil {
			got, err = s.Read(ctx, 0, nil)
		}
		runtime.ReadMemStats(&after)
		switch {
		case c.want == "" && (err != nil || string(got) != "abcd"):
			t.Errorf("%s: %q, %v", name, got, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
			t.Errorf("%s: %d MiB were reserved", name, n>>20)
		}
	}
}
