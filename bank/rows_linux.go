package bank

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// newRows is n zeroed floats, on huge pages where the system grants them: rows are read at random, and with small pages
// every one of them misses the translation buffer.
func newRows(n int) []float32 {
	rows := make([]float32, n)
	const huge = 2 << 20
	bytes := uintptr(4 * n)
	if bytes < 8*huge {
		return rows
	}
	skip := -uintptr(unsafe.Pointer(&rows[0])) & (huge - 1)
	size := (bytes - skip) &^ (huge - 1)
	// A refusal costs only speed.
	_ = unix.Madvise(unsafe.Slice((*byte)(unsafe.Pointer(&rows[skip/4])), size), unix.MADV_HUGEPAGE)
	return rows
}
