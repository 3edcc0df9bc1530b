package flows

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// The loss of an epoch is the mean over its images, and its speed theirs over its time: a short last batch counts for less.
func TestLastEpochOfAShortBatch(t *testing.T) {
	for _, c := range []struct {
		batch, dropLast string
		losses          []float64 // of the last epoch
		loss, speed     float64
	}{
		{"8", "false", []float64{1, 1, 1, 6}, (24 + 18) / 27.0, 27 / (24/100.0 + 3/10.0)},
		{"8", "true", []float64{1, 1, 6}, 8 / 3.0, 3 / (2/100.0 + 1/10.0)},
		{"256", "false", []float64{4}, 4, 10}, // a probe's batch is at most the data set
		{"", "", []float64{1, 3}, 2, 2 / (1/100.0 + 1/10.0)},
	} {
		r := &runRecord{manifest: Manifest{Images: 27, Settings: map[string]Setting{"batch_size": {Value: c.batch}, "drop_last": {Value: c.dropLast}}}}
		var lines strings.Builder
		fmt.Fprintln(&lines, `{"step":0,"epoch":1,"loss":9,"images_per_s":1}`)
		per := len(c.losses)
		for i, loss := range c.losses {
			speed := 100
			if i == per-1 {
				speed = 10
			}
			fmt.Fprintf(&lines, `{"step":%d,"epoch":2,"loss":%v,"images_per_s":%d}`+"\n", per+i, loss, speed)
		}
		if err := r.readMetrics([]byte(lines.String())); err != nil {
			t.Fatal(err)
		}
		loss, _ := r.lastMean("loss")
		if speed, _ := r.lastSpeed(); math.Abs(loss-c.loss) > 1e-12 || math.Abs(speed-c.speed) > 1e-9 {
			t.Errorf("batches of %q: loss %v at %v images/s, want %v at %v", c.batch, loss, speed, c.loss, c.speed)
		}
	}
}
