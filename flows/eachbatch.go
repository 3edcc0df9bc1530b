package flows

import (
	"context"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/stages"
)

// EachBatch runs the loading half of the flow, mixture included, and shows every batch that training would get, in order, up
// to the run's last step. A batch is the caller's until see returns.
func (r *Run) EachBatch(ctx context.Context, see func(*stages.Batch) error) error {
	g := contraflow.New("loading")
	contraflow.Each(r.loading(g), "see", func(_ context.Context, b *stages.Batch) error {
		defer b.Release()
		return see(b)
	})
	return g.Run(ctx)
}
