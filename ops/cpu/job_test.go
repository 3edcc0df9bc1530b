package cpu

import (
	"slices"
	"sync"
	"testing"
)

// count notes which chunks are done.
type count struct {
	mu   *sync.Mutex
	done []int
}

func (c *count) do(_ *Device, _ *scratch, chunk int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done[chunk]++
}

// Two jobs in one loop: every chunk of either is done once.
func TestBoth(t *testing.T) {
	for threads := 1; threads <= 7; threads++ {
		d := newDevice(threads, generic)
		defer d.Close()
		for a := 1; a <= 20; a++ {
			for b := threads; b <= threads+20; b++ {
				var mu sync.Mutex
				first, second := &count{&mu, make([]int, a)}, &count{&mu, make([]int, b)}
				run(d, &d.jobs.both, a+b, both{first, second, a, b})
				for _, c := range []*count{first, second} {
					if slices.Min(c.done) != 1 || slices.Max(c.done) != 1 {
						t.Fatalf("%d threads, %d and %d chunks: done %v", threads, a, b, c.done)
					}
				}
			}
		}
	}
}

// What was postponed is done by the loop that comes along, or when something else is postponed, or in the end.
func TestPostpone(t *testing.T) {
	d := newDevice(2, generic)
	defer d.Close()
	var mu sync.Mutex
	type place struct{ count }
	var first, second, along place
	make3 := func() place { return place{count{&mu, make([]int, 3)}} }
	all := func(p place) bool { return slices.Equal(p.done, []int{1, 1, 1}) }

	postpone(d, &first, 3, make3())
	if all(first) {
		t.Fatal("done at once")
	}
	runAlong(d, &along, 3, make3())
	if !all(first) || !all(along) {
		t.Fatalf("along: %v %v", first.done, along.done)
	}
	postpone(d, &first, 3, make3())
	postpone(d, &second, 3, make3())
	if !all(first) || all(second) {
		t.Fatalf("two in a row: %v %v", first.done, second.done)
	}
	runAlong(d, &along, 1, make3()) // too few chunks to go along with
	if all(second) {
		t.Fatal("a single chunk took another job along")
	}
	d.catchUp()
	d.catchUp()
	if !all(second) {
		t.Fatalf("in the end: %v", second.done)
	}
}
