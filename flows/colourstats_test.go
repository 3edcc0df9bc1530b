package flows

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/ops/pixel"
)

// inPairs is a data set of which two images can only be read at once.
type inPairs struct {
	fileSet
	meet chan struct{}
}

func (p inPairs) Read(ctx context.Context, i int, buf []byte) ([]byte, error) {
	if i%perPlan == 0 {
		select {
		case p.meet <- struct{}{}:
		case <-p.meet:
		case <-time.After(time.Minute):
			return nil, errors.New("nobody reads another image meanwhile")
		}
	}
	return p.fileSet.Read(ctx, i, buf)
}

// All cores measure, as ImageNet would take one of them hours, and their number changes no bit.
func TestColourStatsOnAllCores(t *testing.T) {
	var set fileSet
	for range perPlan { // two plans
		set = append(set, "../testdata/pixels/jpeg_444.jpg", "../testdata/pixels/jpeg_420.jpg")
	}
	d, err := jpeg.Open("go")
	if err != nil {
		t.Fatal(err)
	}
	space, err := pixel.LookupSpace("Lab")
	if err != nil {
		t.Fatal(err)
	}
	one, err := colourStats(t.Context(), set, d, space, len(set), 1)
	if err != nil || one.Images != len(set) {
		t.Fatalf("%+v, %v", one, err)
	}
	two, err := colourStats(t.Context(), inPairs{set, make(chan struct{})}, d, space, len(set), 2)
	if err != nil || !reflect.DeepEqual(one, two) {
		t.Errorf("two workers: %+v, %v; one: %+v", two, err, one)
	}
}
