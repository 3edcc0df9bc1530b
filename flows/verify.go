package flows

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/io/shard"
	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

// VerifyReport tells what reading everything found.
type VerifyReport struct {
	Format string         `json:"format"`
	Images map[string]int `json:"images"` // read, by split
	Shards int            `json:"shards"` // whose sums were compared
	Bad    []BadImage     `json:"bad"`
}

// Verify reads and decodes every image of the splits of a data set, or of those named, and compares the sums of shards. bad is told of every file
// that fails, in order.
func Verify(ctx context.Context, folder, classes, decoder string, names []string, workers int, bad func(BadImage)) (VerifyReport, error) {
	rep := VerifyReport{Images: map[string]int{}, Bad: []BadImage{}}
	if err := CheckCount("workers", workers, "one a core"); err != nil {
		return rep, err
	}
	d, err := jpeg.Open(decoder)
	if err != nil {
		return rep, err
	}
	splits, sets, err := openSplits(folder, classes, names)
	if err != nil {
		return rep, err
	}
	note := func(b BadImage) {
		rep.Bad = append(rep.Bad, b)
		bad(b)
	}
	for i, data := range sets {
		rep.Format = stages.Format(data)
		if s, ok := data.(*shard.Set); ok {
			for k := range s.Shards() {
				name, compared, err := s.VerifyShard(ctx, k)
				if ctx.Err() != nil {
					return rep, ctx.Err()
				}
				if unreachable(err) {
					return rep, err
				}
				if err != nil {
					note(BadImage{name, err.Error()})
				}
				if compared {
					rep.Shards++
				}
			}
		}
		if err := verifySplit(ctx, splits[i], data, d, workers, note); err != nil {
			return rep, err
		}
		rep.Images[splits[i]] = data.Len()
	}
	return rep, nil
}

// unreachable says that a server did not give the bytes: nothing is known of them.
func unreachable(err error) bool {
	u := (*shard.UnreachableError)(nil)
	return errors.As(err, &u)
}

// readPicture reads and decodes an image; bad is what is wrong with it, err what ends the whole.
func readPicture(ctx context.Context, data stages.Dataset, d *jpeg.Decoder, i int, pic *pixel.Picture, buf *[]byte) (bad, err error) {
	raw, err := data.Read(ctx, i, *buf)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case unreachable(err):
		return nil, err
	case err != nil:
		return err, nil
	}
	*buf = raw
	return d.Decode(pic, raw), nil
}

func verifySplit(ctx context.Context, split string, data stages.Dataset, d *jpeg.Decoder, workers int, note func(BadImage)) error {
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	g := contraflow.New("verify " + split)
	s := stages.Sampler{N: data.Len(), Batch: min(perPlan, data.Len()), Epochs: 1, Ordered: true}
	plans := contraflow.Source(g, "plan", s.Plans())
	found := contraflow.Step(plans, "read", func(ctx context.Context, p stages.Plan) ([]BadImage, error) {
		var out []BadImage
		var pic pixel.Picture
		var buf []byte
		for _, i := range p.Index {
			bad, err := readPicture(ctx, data, d, i, &pic, &buf)
			if err != nil {
				return nil, err
			}
			if bad != nil {
				out = append(out, BadImage{data.Name(i), bad.Error()})
			}
		}
		return out, nil
	}, contraflow.Workers(workers))
	contraflow.Each(found, "report", func(_ context.Context, list []BadImage) error {
		for _, b := range list {
			note(b)
		}
		return nil
	})
	return g.Run(ctx)
}

// Err says whether anything was bad.
func (r VerifyReport) Err() error {
	if len(r.Bad) == 0 {
		return nil
	}
	return fmt.Errorf("%d bad, the first %s: %s", len(r.Bad), r.Bad[0].Name, r.Bad[0].Error)
}
