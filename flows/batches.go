package flows

import (
	"context"
	"iter"

	"github.com/contraflow/contraflow/stages"
)

// Batches renders the training batches of a run one after the other, without training: what its encoders would see, before
// any mixture. Release gives a batch's memory back.
func Batches(o Options) iter.Seq2[*stages.Batch, error] {
	return func(yield func(*stages.Batch, error) bool) {
		r, err := PrepareLoading(o)
		if err != nil {
			yield(nil, err)
			return
		}
		render := r.views.stage(r.decode.Recycle)
		for plan, err := range r.sampler.Plans() {
			var b *stages.Batch
			if err == nil {
				var c *stages.Crops
				if c, err = r.decode.Run(context.Background(), plan); err == nil {
					b, err = render.Run(context.Background(), c)
				}
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}
