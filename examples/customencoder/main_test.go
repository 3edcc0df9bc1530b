package main

import (
	"context"
	"testing"

	"github.com/contraflow/contraflow/encoders"
)

// A registered encoder trains, and its checkpoint opens by the name.
func TestRun(t *testing.T) {
	encoders.Register("conv4", func(out int) encoders.Model { return encoders.Model{Net: Conv4{Out: out}} })
	if err := run(context.Background(), 3); err != nil {
		t.Fatal(err)
	}
}
