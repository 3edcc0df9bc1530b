package stages

import (
	"context"
	"fmt"

	"github.com/contraflow/contraflow/ops"
)

// Upload sends the pixels of a batch to the device while that computes the batch before.
type Upload struct {
	Device ops.Sender
}

// Run sends one batch. Views that show the same pictures share one upload.
func (u *Upload) Run(_ context.Context, b *Batch) (*Batch, error) {
	b.Sent = make([]ops.Sent, len(b.Pixels))
	for v, rgb := range b.Pixels {
		for w := range v {
			if len(rgb) > 0 && len(b.Pixels[w]) == len(rgb) && &b.Pixels[w][0] == &rgb[0] {
				b.Sent[v] = b.Sent[w]
			}
		}
		if b.Sent[v] != nil || len(rgb) == 0 {
			continue
		}
		sent, err := u.Device.Send(rgb)
		if err != nil {
			return nil, fmt.Errorf("step %d: upload: %w", b.Step, err)
		}
		b.Sent[v] = sent
	}
	return b, nil
}
