package main

import (
	"testing"

	"github.com/contraflow/contraflow/flows"
)

// A demonstration at its end has no speed to tell.
func TestDemoSpeed(t *testing.T) {
	for want, res := range map[string]flows.DemoResult{
		"488 images/s over 150 s; encode busy 98 %":              {ImagesPerSec: 488, Seconds: 150, EncodeBusy: 0.98},
		"nothing was left to train: the demonstration had ended": {Seconds: 0.01},
	} {
		if got := speedOf(&res); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
