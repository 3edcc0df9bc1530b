package stages

import (
	"context"

	"gorgonia.org/tensor"

	"github.com/contraflow/contraflow/ops"
)

// Plan names one batch before anything of it exists. Position is state: what a batch holds is a function of the
// seed and the plan alone, so any number of workers, and a resumed run, build the same bytes.
type Plan struct {
	Epoch int   // from 1, as the reference counts
	Step  int   // optimiser steps before this one, from 0, over the whole run
	Batch int   // index of the batch in its epoch, from 0
	Of    int   // batches in the epoch
	Index []int // samples of the data set, len B; the last batch of an epoch may be short
	// Whole are the samples of the batch over all ranks, in order; nil when there is one rank, which has them in Index.
	Whole []int
	// Mix is what a mixture does to the batch; nil is nothing.
	Mix *Recipe
}

// Dataset is an ordered list of encoded images. Implementations are safe for concurrent use.
type Dataset interface {
	// Len is the number of samples; sample i addresses row i of a memory bank.
	Len() int
	// Classes are the class names in label order.
	Classes() []string
	// Label is the class of sample i.
	Label(i int) int
	// Name says where sample i comes from, for messages: a path, or shard:member.
	Name(i int) string
	// Read returns the encoded bytes of sample i (JPEG, PNG, PPM, …), in buf when they fit. Formats that store
	// raw pixels return them as a binary PPM. What it returns is the caller's, who may pass it as buf again: a data set that keeps
	// bytes returns a copy.
	Read(ctx context.Context, i int, buf []byte) ([]byte, error)
}

// Batch is a rendered batch: every view of every sample, normalised, ready for the encoders.
// It belongs to whoever received it last; Release gives its buffers back to the loader.
type Batch struct {
	Plan
	Labels []int       // [B]
	Views  [][]float32 // per view [B,C,H,W]
	Shapes [][3]int    // per view C,H,W
	// Pixels, when a device renders, are per view what it renders, 8-bit RGB [P,H,W,3]; Views is then empty. P is B, or with a
	// mixture the number of decoded pictures, donors last.
	Pixels [][]byte
	// Sent, per view, are Pixels that were sent to the device ahead; nil when they were not.
	Sent []ops.Sent
	// Touch, per view, is what the device does to each of those pictures first; nil when they are as they are to be.
	Touch [][]ops.Touch
	// Present says which samples have view v; nil means all.
	Present [][]bool
	// Lambda weighs the mixed view of Un-Mix, the last one, against the sample itself.
	Lambda float64
	// Bad lists samples of this batch that could not be read and were substituted.
	Bad []Substitution

	has     [][]bool // as Present, of every decoded picture, donors last: what a mixture asks
	release func()
}

// Release returns the buffers to the pool they came from. The batch must not be used afterwards.
func (b *Batch) Release() {
	for _, s := range b.Sent {
		if s != nil {
			s.Release()
		}
	}
	b.Sent = nil
	release := b.release
	b.release = nil
	if release != nil {
		release() // the batch may be another's from here on
	}
}

// Keep keeps the buffers out of the pool for good: Release then does nothing, and the batch may be used again and again.
func (b *Batch) Keep() { b.release = nil }

// Substitution tells of a sample that could not be decoded and of the one used instead.
type Substitution struct {
	Index, By int
	Name      string
	Err       error
}

// Dense is a view as a tensor [B,C,H,W], which shares its memory until Release; nil when the device renders the view from Pixels.
func (b *Batch) Dense(view int) *tensor.Dense {
	if view >= len(b.Views) {
		return nil
	}
	s := b.Shapes[view]
	x := b.Views[view]
	return tensor.New(tensor.WithShape(len(x)/(s[0]*s[1]*s[2]), s[0], s[1], s[2]), tensor.WithBacking(x))
}
