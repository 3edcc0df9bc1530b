package cpu

import "unsafe"

// aligned is a zeroed slice that begins on a cache line, or, where it takes several huge pages, on a page of its own that the
// system is asked for: with small ones a step waits for the translation buffer. The memory is the garbage collector's, as outputs
// are handed out that outlive their program.
func aligned(n int) []float32 {
	boundary := uintptr(4 * line)
	if 4*n >= 2*hugePage {
		boundary = hugePage
	}
	b := make([]float32, n+int(boundary/4))
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b)))&(boundary-1)) / 4
	b = b[skip:][:n:n]
	if boundary == hugePage {
		askHuge(unsafe.Slice((*byte)(ptr(b, 0)), 4*n&^(hugePage-1)))
	}
	return b
}

// hugePage is the size of a huge page of amd64 and most of arm64.
const hugePage = 2 << 20
