//go:build cuda

package driver

import (
	"math"
	"unsafe"

	"gorgonia.org/cu"
)

// maxArgs is how many arguments a kernel may have, as the launcher's C side knows too.
const maxArgs = 32

// Args packs the arguments of one launch as the C ABI lays them out. Reused, it allocates nothing.
type Args struct {
	bytes [8 * maxArgs]byte
	at    [maxArgs]uint16
	n     int
	end   int
}

// Reset forgets the arguments.
func (a *Args) Reset() *Args { a.n, a.end = 0, 0; return a }

func (a *Args) place(size int) unsafe.Pointer {
	a.end = (a.end + size - 1) &^ (size - 1)
	a.at[a.n] = uint16(a.end)
	p := unsafe.Pointer(&a.bytes[a.end])
	a.n++
	a.end += size
	return p
}

// Ptr adds a device address.
func (a *Args) Ptr(p cu.DevicePtr) *Args { *(*uint64)(a.place(8)) = uint64(p); return a }

// Int adds an int.
func (a *Args) Int(v int) *Args { *(*int32)(a.place(4)) = int32(v); return a }

// Long adds a long long.
func (a *Args) Long(v int64) *Args { *(*int64)(a.place(8)) = v; return a }

// Float adds a float.
func (a *Args) Float(v float32) *Args { *(*uint32)(a.place(4)) = math.Float32bits(v); return a }

// Double adds a double.
func (a *Args) Double(v float64) *Args { *(*uint64)(a.place(8)) = math.Float64bits(v); return a }
