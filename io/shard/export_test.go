package shard

import "time"

func init() {
	pause = time.Millisecond
	freeGrowth = 1 << 20
}
