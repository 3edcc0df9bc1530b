package shard

import "time"

func init() {
	pause, patience = time.Millisecond, 20*time.Millisecond
	freeGrowth = 1 << 20
}

var Decompress = decompress

// SetPatience is for one test, until restore is called.
func SetPatience(d time.Duration) (restore func()) {
	old := patience
	patience = d
	return func() { patience = old }
}

// SetStall changes how long an answer may send nothing, until the function it returns is called.
func SetStall(d time.Duration) (restore func()) {
	old := stall
	stall = d
	return func() { stall = old }
}
