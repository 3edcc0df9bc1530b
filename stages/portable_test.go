package stages

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"testing"
)

// Numbers and boxes are drawn alike on every machine: the sums are those of amd64, whose compiler fuses no product with a sum.
func TestDrawPortable(t *testing.T) {
	r := Rand{rand.New(rand.NewPCG(1, 2))}
	var numbers, boxes []byte
	for range 1000 {
		numbers = binary.LittleEndian.AppendUint64(numbers, math.Float64bits(r.Between(0.6, 1.4)))
		for _, rule := range []CropRule{cropLog, cropUniform} {
			b := rule(r.Rand, 500, 375, 0.08, 1)
			for _, v := range []int{b.X, b.Y, b.W, b.H} {
				boxes = binary.LittleEndian.AppendUint16(boxes, uint16(v))
			}
		}
	}
	if got := crc32.ChecksumIEEE(numbers); got != 0xe417bdfa {
		t.Errorf("numbers have the sum %#x", got)
	}
	if got := crc32.ChecksumIEEE(boxes); got != 0x158749cd {
		t.Errorf("boxes have the sum %#x", got)
	}
}
