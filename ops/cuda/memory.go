//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"sort"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops/cuda/driver"
)

// OutOfMemory says what did not fit on the device.
type OutOfMemory struct {
	What        string // "the activations of a batch of 256"
	Lower       string // "lower --batch_size or --image_size, or use --amp"
	Bytes, Free int64
	Device      string
}

func (e *OutOfMemory) Error() string {
	gib := func(n int64) float64 { return float64(n) / (1 << 30) }
	return fmt.Sprintf("%s: %s need %.2f GiB, %.2f GiB are free: %s", e.Device, e.What, gib(e.Bytes), gib(e.Free), e.Lower)
}

// Small buffers are cut from chunks and never given back: they are few.
const (
	chunkSize = 16 << 20
	smallSize = 1 << 20
)

// alloc is device memory, aligned to 256 bytes. what and lower are for the error when there is not enough.
func (d *Device) alloc(n int64, what, lower string) (cu.DevicePtr, error) {
	n = roundUp(max(n, 256), 256)
	if n > smallSize {
		return d.allocChunk(n, what, lower)
	}
	if n > d.chunk.n {
		p, err := d.allocChunk(chunkSize, what, lower)
		if err != nil {
			return 0, err
		}
		d.chunk = buffer{at(p, 256), chunkSize - 256} // no small buffer has the address of its chunk, which free would free
	}
	p := d.chunk.p
	d.chunk = buffer{at(p, n), d.chunk.n - n}
	return p, nil
}

func (d *Device) allocChunk(n int64, what, lower string) (cu.DevicePtr, error) {
	if err := d.inherit(); err != nil {
		return 0, err
	}
	p, err := cu.MemAlloc(n)
	if errors.Is(err, cu.OutOfMemory) {
		if found, err := d.orphans(); err != nil {
			return 0, err
		} else if found {
			return d.allocChunk(n, what, lower)
		}
		free, _, _ := cu.MemInfo()
		return 0, &OutOfMemory{What: what, Lower: lower, Bytes: n, Free: free, Device: d.Name()}
	}
	if err != nil {
		return 0, fmt.Errorf("allocate %d bytes for %s: %w", n, what, err)
	}
	d.held[p] = n
	d.bytes += n
	return p, nil
}

func (d *Device) free(p cu.DevicePtr) error {
	if d.held[p] < smallSize { // part of a chunk
		return nil
	}
	d.bytes -= d.held[p]
	delete(d.held, p)
	return cu.MemFree(p)
}

// buffer is device memory that grows.
type buffer struct {
	p cu.DevicePtr
	n int64
}

// grow makes b at least n bytes. Growing waits for the device, since what was there may be in use. When there is no room, b is what it
// was: programs that are there already need no more.
func (d *Device) grow(b *buffer, n int64, what string) error {
	if n <= b.n {
		return nil
	}
	if err := cu.Synchronize(); err != nil {
		return err
	}
	if err := d.free(b.p); err != nil {
		return err
	}
	d.moves++
	old := b.n
	*b = buffer{}
	p, err := d.alloc(n, what, "lower --batch_size")
	if err != nil && old > 0 {
		n = old
		var again error
		if p, again = d.alloc(n, what, "lower --batch_size"); again != nil {
			return errors.Join(err, again)
		}
	}
	if p != 0 {
		*b = buffer{p, n}
	}
	return err
}

// pinned is host memory that copies can use while the program goes on.
type pinned struct {
	p unsafe.Pointer
	n int
}

func (d *Device) pin(n int) (pinned, error) {
	p, err := driver.HostAlloc(max(n, 64))
	if err != nil {
		return pinned{}, fmt.Errorf("pin %d bytes of host memory: %w: raise ulimit -l, or lower --batch_size", n, err)
	}
	return pinned{p, n}, nil
}

func (h pinned) floats() []float32 { return unsafe.Slice((*float32)(h.p), h.n/4) }
func (h pinned) bytes() []byte     { return unsafe.Slice((*byte)(h.p), h.n) }

// life is a buffer's place in a plan: it is written first by step from and read last by step to.
type life struct {
	bytes    int64
	from, to int
	at       int64 // where arrange puts it
}

// arrange places buffers in one arena so that those alive at the same time do not overlap, the largest first, each as low as
// it fits. It returns the arena's size.
func arrange(lives []*life) int64 {
	order := append([]*life(nil), lives...)
	sort.SliceStable(order, func(i, j int) bool { return order[i].bytes > order[j].bytes })
	var total int64
	var placed []*life
	for _, l := range order {
		var others []*life
		for _, p := range placed {
			if p.from <= l.to && l.from <= p.to {
				others = append(others, p)
			}
		}
		sort.Slice(others, func(i, j int) bool { return others[i].at < others[j].at })
		l.at = 0
		for _, p := range others {
			if l.at+l.bytes <= p.at {
				break
			}
			l.at = max(l.at, roundUp(p.at+p.bytes, 256))
		}
		placed = append(placed, l)
		total = max(total, l.at+l.bytes)
	}
	return roundUp(total, 256)
}

func roundUp[T int | int64](n, to T) T { return (n + to - 1) / to * to }

func at(p cu.DevicePtr, bytes int64) cu.DevicePtr { return p + cu.DevicePtr(bytes) }
