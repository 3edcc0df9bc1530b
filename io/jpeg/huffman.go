package jpeg

import (
	"bytes"
	"slices"
)

// lookBits is how many bits the tables look at at once.
const lookBits = 11

// table decodes one Huffman code. An entry of values is looked up by the next lookBits bits:
//
//	bits 0–7    bits to take: code and value, or the code alone, or 0 when the code is longer than lookBits
//	bits 8–15   coefficients to go on by, run+1; 0 when the value is not in the entry
//	bits 16–31  the value, signed; or the symbol
//
// so that most coefficients cost one look-up.
type table struct {
	values  [1 << lookBits]uint32
	symbols [1 << lookBits]uint16 // length<<8 | symbol, 0 when longer
	most    [18]int32             // largest code of a length, -1 for none
	offset  [18]int32             // of a length's first symbol in vals, less its first code
	vals    [256]byte
	spec    []byte // what it was made of
	bad     bool   // that is no code: an error of the scans that use it
}

// make builds the table from a DHT segment's 16 counts and its symbols, at most 256. With dc set symbols are sizes alone.
func (t *table) make(spec []byte, dc bool) {
	if bytes.Equal(t.spec, spec) {
		return
	}
	t.spec = append(t.spec[:0], spec...)
	counts, vals := spec[:16], spec[16:]
	if t.bad = dc && len(vals) > 0 && slices.Max(vals) > 15; t.bad {
		return
	}
	clear(t.values[:])
	clear(t.symbols[:])
	copy(t.vals[:], vals)
	code, at := int32(0), 0
	for l := 1; l <= 16; l++ {
		n := int(counts[l-1])
		t.offset[l] = int32(at) - code
		t.most[l] = -1
		if t.bad = n > 0 && code+int32(n) >= 1<<l; t.bad { // no code is all ones
			return
		}
		for range n {
			if l <= lookBits {
				t.enter(code, uint(l), vals[at], dc)
			}
			code, at = code+1, at+1
		}
		if n > 0 {
			t.most[l] = code - 1
		}
		code <<= 1
	}
	t.most[17] = 1<<31 - 1
}

// enter fills all entries that start with a code.
func (t *table) enter(code int32, l uint, symbol byte, dc bool) {
	rest := lookBits - l
	base := int(code) << rest
	size, run := uint(symbol&15), uint32(symbol>>4)
	if dc {
		size, run = uint(symbol), 0
	}
	for low := range 1 << rest {
		t.symbols[base+low] = uint16(l<<8) | uint16(symbol)
		e := uint32(l) | uint32(symbol)<<16
		if (size > 0 || dc) && size <= rest {
			v := extend(low>>(rest-size), size)
			e = uint32(l+size) | (run+1)<<8 | uint32(uint16(v))<<16
		}
		t.values[base+low] = e
	}
}

// symbol reads one symbol; a code that is none gives 0, as in libjpeg.
func (b *bits) symbol(t *table) byte {
	if b.left < noCode {
		b.refill()
	}
	if e := t.symbols[b.acc>>(64-lookBits)]; e != 0 {
		n := uint(e >> 8)
		b.acc <<= n & 63
		b.left -= n
		return byte(e)
	}
	return b.long(t)
}

// long reads a code longer than lookBits.
func (b *bits) long(t *table) byte {
	for l := uint(lookBits + 1); l <= 16; l++ {
		code := int32(b.acc >> (64 - l))
		if code <= t.most[l] {
			b.acc <<= l
			b.left -= l
			return t.vals[(t.offset[l]+code)&255]
		}
	}
	b.acc <<= noCode
	b.left -= noCode
	return 0
}

// noCode is how many bits libjpeg takes before it gives a code up and reads the symbol 0.
const noCode = 17

// dcDiff reads the difference of a DC coefficient.
func (b *bits) dcDiff(t *table) int {
	b.refill()
	e := t.values[b.acc>>(64-lookBits)]
	if e&0xff00 != 0 {
		n := uint(e & 63)
		b.acc <<= n
		b.left -= n
		return int(int16(e >> 16))
	}
	size := uint(b.symbol(t)) & 15
	return extend(b.take(size), size)
}
