package parquet_test

import (
	"os"
	"path/filepath"
	"testing"

	pq "github.com/parquet-go/parquet-go"

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
