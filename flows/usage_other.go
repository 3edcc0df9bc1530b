//go:build !unix

package flows

import "time"

// processorTime and peakMemory are not known here.
func processorTime() time.Duration { return 0 }
func peakMemory() float64          { return 0 }
