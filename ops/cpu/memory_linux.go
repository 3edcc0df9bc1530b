package cpu

import "golang.org/x/sys/unix"

// askHuge asks for huge pages. A refusal costs only speed.
func askHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
