//go:build cuda

package cuda_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cuda"
)

// Parameters, programs with their tapes and banks that nobody refers to any more give their memory back; those in use stay.
func TestMemoryComesBack(t *testing.T) {
	d := open(t, cuda.Options{}).(*cuda.Device)
	make := func() (ops.Program, ops.Bank) {
		g := ops.NewGraph(ops.Shape{C: 8, H: 64, W: 64})
		g.Conv(g.Input(), "a", ops.ConvOptions{Out: 512, Kernel: 11, Pad: 5})
		p, err := d.NewParams(g)
		if err != nil {
			t.Fatal(err)
		}
		pr, err := d.Compile(g, p, ops.Options{Batch: 8, Direct: true})
		if err != nil {
			t.Fatal(err)
		}
		bank, err := d.NewBank(10000, 128)
		if err != nil {
			t.Fatal(err)
		}
		return pr, bank
	}
	_, _ = make() // what the device itself keeps is there
	held := func() int64 {
		var now int64
		for still := 0; still < 10; still++ { // the runtime tells of what is gone in its own time
			runtime.GC()
			before := now
			if now, _, _ = d.Memory(); now != before {
				still = 0
			}
			time.Sleep(10 * time.Millisecond)
		}
		return now
	}
	none := held()
	pr, bank := make()
	one := held()
	if one < none+(10<<20) {
		t.Fatalf("%d bytes are held with a program and a bank, %d without", one, none)
	}
	for range 4 {
		_, _ = make()
	}
	if now := held(); now != one {
		t.Errorf("%d bytes are held after four more programs, %d before", now, one)
	}
	runtime.KeepAlive(pr)
	runtime.KeepAlive(bank)
	pr, bank = nil, nil
	if now := held(); now != none {
		t.Errorf("%d bytes are held when all are gone, %d before there were any", now, none)
	}
}
