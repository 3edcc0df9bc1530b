package main

import (
	"context"
	"testing"

	"github.com/contraflow/contraflow/ops/pixel"
)

// A flat picture has no edges; a step has one where it is.
func TestEdges(t *testing.T) {
	p := &pixel.Picture{}
	p.Reset(4, 4)
	dst := make([]float32, 16)
	Edges.Render(dst, p)
	for i, v := range dst {
		if v != -1 {
			t.Fatalf("pixel %d of a flat picture is %v", i, v)
		}
	}
	for y := range 4 {
		p.Pix[3*(4*y+3)+1] = 255
	}
	Edges.Render(dst, p)
	if dst[0] != -1 || dst[2] != 1 || dst[3] != 1 {
		t.Errorf("the row of a step is %v", dst[:4])
	}
}

func TestRun(t *testing.T) {
	if err := run(context.Background(), 3); err != nil {
		t.Fatal(err)
	}
}
