package main

import (
	"context"
	"slices"
	"testing"
)

// The pipeline learns, and the same again when it is run again.
func TestRun(t *testing.T) {
	first, err := run(context.Background(), 6)
	if err != nil || len(first) != 6 || !(first[5] < first[0]) {
		t.Fatal(first, err)
	}
	second, err := run(context.Background(), 6)
	if err != nil || !slices.Equal(first, second) {
		t.Errorf("%v, then %v: %v", first, second, err)
	}
}
