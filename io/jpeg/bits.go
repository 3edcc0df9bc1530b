package jpeg

import (
	"bytes"
	"encoding/binary"
)

// bits reads the entropy-coded bits of one segment, highest first. The stuffed zero bytes are taken out beforehand, so that
// a refill is one load; behind its end a segment goes on with zeros, as it does in libjpeg.
type bits struct {
	buf  []byte // the segment, then eight zeros
	end  int    // of the segment in buf
	pos  int    // next byte of buf
	acc  uint64 // the next bits, left-aligned
	left uint   // bits of acc that are filled
}

// open reads the segment that starts data, up to the next marker, and returns where that marker is, or len(data).
func (b *bits) open(data []byte) (consumed int) {
	b.buf = b.buf[:0]
	at := 0
	for {
		i := bytes.IndexByte(data[at:], 0xff)
		if i < 0 {
			b.buf = append(b.buf, data[at:]...)
			consumed = len(data)
			break
		}
		b.buf = append(b.buf, data[at:at+i]...)
		at += i
		next := at + 1
		for next < len(data) && data[next] == 0xff { // fill bytes before a marker
			next++
		}
		if next == len(data) {
			consumed = len(data)
			break
		}
		if data[next] != 0 {
			consumed = next - 1
			break
		}
		b.buf = append(b.buf, 0xff)
		at = next + 1
	}
	b.end = len(b.buf)
	b.buf = append(b.buf, 0, 0, 0, 0, 0, 0, 0, 0)
	b.pos, b.acc, b.left = 0, 0, 0
	return consumed
}

// refill makes at least 56 bits available.
func (b *bits) refill() {
	if b.pos <= b.end {
		b.acc |= binary.BigEndian.Uint64(b.buf[b.pos:]) >> (b.left & 63)
	}
	b.pos += int((63 - b.left) >> 3)
	b.left |= 56
}

// used is how many bits were taken.
func (b *bits) used() int { return b.pos*8 - int(b.left) }

// starved says that more bits were taken than the segment has.
func (b *bits) starved() bool { return b.used() > b.end*8 }

// take returns the next n bits, at most 16.
func (b *bits) take(n uint) int {
	if b.left < n {
		b.refill()
	}
	v := int(b.acc >> 1 >> (63 - n&63))
	b.acc <<= n & 63
	b.left -= n
	return v
}

// extend is the signed value of n bits.
func extend(v int, n uint) int {
	if n > 0 && v < 1<<(n-1) {
		return v - 1<<n + 1
	}
	return v
}
