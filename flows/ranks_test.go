package flows_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/stages"
)

// Any number of ranks sees the same global batches, to the bit: every sample once, with its crops, partners, weights and boxes,
// in the place where one rank has it.
func TestRanks(t *testing.T) {
	data := images(t)
	for name, mix := range map[string]func(*flows.Options){
		"plain":           func(*flows.Options) {},
		"IM":              func(o *flows.Options) { o.Mix.On, o.Mix.Type = true, "IM" },
		"IM in batch":     func(o *flows.Options) { o.Mix.On, o.Mix.Type, o.Mix.Partner = true, "IM", "batch" },
		"global":          func(o *flows.Options) { o.Mix.On, o.Mix.Type = true, "global" },
		"region in batch": func(o *flows.Options) { o.Mix.On, o.Mix.Type, o.Mix.Partner = true, "region", "batch" },
		"Cutout":          func(o *flows.Options) { o.Mix.On, o.Mix.Type, o.Mix.MaskSize = true, "Cutout", 9 },
		"RandomErasing":   func(o *flows.Options) { o.Mix.On, o.Mix.Type = true, "RandomErasing" },
		"unmix":           func(o *flows.Options) { o.Mix.On, o.Mix.Type = true, "unmix" },
	} {
		t.Run(name, func(t *testing.T) {
			// global gives a line a sample: step, position, sample, label and the sum of every view.
			global := func(ranks int) string {
				lines := map[[2]int]string{}
				most := [2]int{}
				for rank := range ranks {
					o := small(t, "moco", data)
					o.Optim.BatchSize, o.Data.Aug, o.Data.Workers, o.Data.Rank, o.Data.Ranks = 8, "CJ", 2, rank, ranks
					o.Optim.DropLast = true
					o.Mix.GProb, o.Mix.RProb, o.Mix.CutoutP, o.Mix.EraseP = 0.6, 0.6, 0.6, 0.6
					mix(&o)
					r, err := flows.PrepareLoading(o)
					if err != nil {
						t.Fatal(err)
					}
					err = r.EachBatch(context.Background(), func(b *stages.Batch) error {
						for i, index := range b.Index {
							line := fmt.Sprintf("sample %d of class %d, lambda %v:", index, b.Labels[i], b.Lambda)
							for v, s := range b.Shapes {
								size := s[0] * s[1] * s[2]
								if b.Pixels != nil { // the device renders them
									size = len(b.Pixels[v]) / len(b.Index)
									line += fmt.Sprintf(" %x", b.Pixels[v][i*size:][:size])
									continue
								}
								if len(b.Views[v]) != len(b.Index)*size {
									return fmt.Errorf("view %d has %d values for %d samples", v, len(b.Views[v]), len(b.Index))
								}
								h := fnv.New64a()
								binary.Write(h, binary.LittleEndian, b.Views[v][i*size:][:size])
								line += fmt.Sprintf(" %x", h.Sum64())
							}
							at := [2]int{b.Step, i*ranks + rank}
							if lines[at] != "" {
								return fmt.Errorf("two ranks have position %v", at)
							}
							lines[at] = line
							most = [2]int{max(most[0], b.Step), max(most[1], at[1])}
						}
						return nil
					})
					if err != nil {
						t.Fatal(err)
					}
				}
				var out strings.Builder
				for step := range most[0] + 1 {
					for i := range most[1] + 1 {
						fmt.Fprintln(&out, step, i, lines[[2]int{step, i}])
					}
				}
				return out.String()
			}
			want := global(1)
			for _, ranks := range []int{2, 4} {
				if got := global(ranks); got != want {
					t.Errorf("%d ranks see other batches:\n%s\n%s", ranks, got, want)
				}
			}
		})
	}
}

// Ranks that do not divide a batch, or would have none of a short one, are refused.
func TestRankMistakes(t *testing.T) {
	data := images(t) // 27 images
	for want, c := range map[string][3]int{"rank 0 of 3 with batch 8": {0, 3, 8}, "rank 2 of 2": {2, 2, 8}, "the last batch of an epoch has 1 image for 2 ranks": {0, 2, 26}} {
		o := small(t, "moco", data)
		o.Data.Rank, o.Data.Ranks, o.Optim.BatchSize = c[0], c[1], c[2]
		if _, err := flows.PrepareLoading(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
