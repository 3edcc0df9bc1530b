package parquet_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/contraflow/contraflow/io/parquet"
)

// Any bytes open, and then every row reads or gives an error, or are refused. Nothing panics.
func FuzzOpen(f *testing.F) {
	path := filepath.Join(f.TempDir(), "a.parquet")
	write(f, path, rows(0, 4), pq.Compression(&pq.Snappy), pq.KeyValueMetadata("huggingface", hf))
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	write(f, path, []textRow{{image(1), "a"}, {image(2), "b"}})
	if whole, err = os.ReadFile(path); err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte("PAR1\x00\x00\x00\x00PAR1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "a.parquet")
		os.WriteFile(path, data, 0o644)
		s, err := parquet.Open(ctx, path, "train")
		if err != nil {
			return
		}
		for i := range min(s.Len(), 100) {
			if l := s.Label(i); l >= len(s.Classes()) {
				t.Fatalf("label %d of %d classes", l, len(s.Classes()))
			}
			s.Read(ctx, i, nil)
		}
	})
}

// Whatever stands in a page, not much more is reserved for it than its header promises.
func FuzzPage(f *testing.F) {
	f.Add(byte(format.Uncompressed), true, byte(format.Plain), uint16(14), []byte("\x02\x00\x00\x00\x02\x01\x04\x00\x00\x00abcd"))
	f.Add(byte(format.Snappy), false, byte(format.Plain), uint16(8), []byte("\x08\x1c\x04\x00\x00\x00abcd"))
	f.Add(byte(format.Zstd), false, byte(format.Plain), uint16(8), []byte("\x28\xb5\x2f\xfd\x00\x88\x41\x00\x00\x04\x00\x00\x00abcd"))
	f.Add(byte(format.Uncompressed), false, byte(format.DeltaByteArray), uint16(14), []byte("\x80\x01\x04\x01\x00\x80\x01\x04\x01\x08abcd"))
	f.Add(byte(format.Uncompressed), false, byte(format.RLEDictionary), uint16(3), []byte("\x00\x02\x00"))
	f.Fuzz(func(t *testing.T, codec byte, nullable bool, encoding byte, promised uint16, body []byte) {
		path := filepath.Join(t.TempDir(), "a.parquet")
		craft(t, path, format.CompressionCodec(codec), nullable, format.Encoding(encoding), int32(promised), body)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if s, err := parquet.Open(ctx, path, "train"); err == nil {
			s.Read(ctx, 0, nil)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
			t.Errorf("%d bytes for a page of %d", n, len(body))
		}
	})
}
