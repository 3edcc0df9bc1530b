package checkpoint_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/raw"
)

// gaussian is n values as weights and velocities have them: normal around zero.
func gaussian(n int, std float64) []float32 {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64() * std)
	}
	return out
}

// BenchmarkSave saves 200 MB in 400 tensors to the disk under the temporary folder, synced, and loads it.
func BenchmarkSave(b *testing.B) {
	const tensors, each = 400, 125_000
	s := &checkpoint.State{Step: 1}
	w := gaussian(each, 0.02)
	for i := range tensors {
		s.Tensors = append(s.Tensors, raw.FromFloat32(fmt.Sprintf("model/%d", i), []int{each}, w))
	}
	dir := b.TempDir()
	b.Run("save", func(b *testing.B) {
		b.SetBytes(4 * tensors * each)
		for range b.N {
			if _, err := checkpoint.Save(checkpoint.Disk{}, dir, s, checkpoint.Options{Keep: 1}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("load", func(b *testing.B) {
		b.SetBytes(4 * tensors * each)
		path, err := checkpoint.Latest(checkpoint.Disk{}, dir)
		if err != nil {
			b.Fatal(err)
		}
		for range b.N {
			if _, err := checkpoint.Load(checkpoint.Disk{}, path); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCompress is the evidence for not compressing: zstd over the bytes as they are and over planes of bytes of
// equal significance, for weights and for unit rows of a bank.
func BenchmarkCompress(b *testing.B) {
	const n = 4 << 20
	rows := gaussian(n, 1)
	for i := 0; i < n; i += 128 {
		var sum float64
		for _, v := range rows[i : i+128] {
			sum += float64(v) * float64(v)
		}
		for j := range rows[i : i+128] {
			rows[i+j] /= float32(math.Sqrt(sum))
		}
	}
	for name, values := range map[string][]float32{"weights": gaussian(n, 0.02), "bank": rows} {
		data := raw.FromFloat32("", []int{n}, values).Data
		planes := make([]byte, len(data))
		for _, shuffle := range []bool{false, true} {
			for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault} {
				b.Run(fmt.Sprintf("%s/shuffle=%v/%v", name, shuffle, level), func(b *testing.B) {
					e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1))
					if err != nil {
						b.Fatal(err)
					}
					b.SetBytes(int64(len(data)))
					var out []byte
					for range b.N {
						src := data
						if shuffle {
							for p := range 4 {
								plane := planes[p*n : (p+1)*n]
								for i := range plane {
									plane[i] = data[4*i+p]
								}
							}
							src = planes
						}
						out = e.EncodeAll(src, out[:0])
					}
					b.ReportMetric(float64(len(out))/float64(len(data)), "ratio")
				})
			}
		}
	}
}
