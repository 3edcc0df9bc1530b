package flows_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/stages"
)

// mixed is a data set of every format in testdata, and two files that nobody can read.
func mixed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob("../testdata/pixels/formats/*")
	if err != nil || len(files) < 80 {
		t.Fatal(len(files), err)
	}
	write := func(class, name string, data []byte) {
		folder := filepath.Join(dir, "train", class)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		if strings.HasSuffix(f, ".py") {
			continue
		}
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		write(strings.TrimPrefix(filepath.Ext(f), "."), strings.ReplaceAll(filepath.Base(f), ".pnm", ".ppm"), data)
		if strings.HasSuffix(f, "420_50x37.jpg") {
			write("jpg", "cut.jpg", data[:len(data)/2])
			write("jpg", "empty.jpg", nil)
		}
	}
	return dir
}

// Any number of workers, and either decoder, loads the same bytes: views, labels and substitutions of every batch of two
// epochs.
func TestLoadingBytes(t *testing.T) {
	data := mixed(t)
	decoders := []string{"go", "turbo"}
	if _, err := jpeg.Open("turbo"); err != nil {
		t.Log("only the Go decoder:", err)
		decoders = decoders[:1]
	}
	for _, method := range []string{"cmc", "moco"} {
		var want [32]byte
		for i, workers := range []int{1, 2, 8} {
			for _, decoder := range decoders {
				o := small(t, method, data)
				o.Data.Workers, o.Data.Decoder, o.Data.BadSamples = workers, decoder, 0.1
				r, err := flows.PrepareLoading(o)
				if err != nil {
					t.Fatal(err)
				}
				h, batches, bad := sha256.New(), 0, 0
				if err := r.EachBatch(context.Background(), func(b *stages.Batch) error {
					batches, bad = batches+1, bad+len(b.Bad)
					for _, v := range b.Views {
						for _, x := range v {
							h.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(x)))
						}
					}
					for s, l := range b.Labels {
						h.Write(binary.LittleEndian.AppendUint64(nil, uint64(l)<<32|uint64(b.Index[s])))
					}
					for _, s := range b.Bad {
						h.Write([]byte(s.Name))
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				got := [32]byte(h.Sum(nil))
				if want == [32]byte{} {
					want = got
				}
				if got != want || bad != 4 || batches < 40 {
					t.Errorf("%s, %d workers, %s: %x, want %x; %d batches, %d bad", method, workers, decoder, got[:4], want[:4], batches, bad)
				}
			}
			if i == 0 && method == "moco" && testing.Short() {
				break
			}
		}
	}
}
