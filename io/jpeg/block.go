package jpeg

import "encoding/binary"

// The coefficients of a block lie in the order that the inverse transform reads: rows 0, 4, 1, 5, 2, 6, 3, 7.

// place is where coefficient k of the zigzag lies. Runs of broken files may pass the end: those go to the last place.
var place = func() (p [128]uint8) {
	x, y, up := 0, 0, true
	for k := range 64 {
		p[k] = uint8((y&3*2+y>>2)*8 + x)
		switch {
		case up && x == 7:
			y, up = y+1, false
		case up && y == 0:
			x, up = x+1, false
		case up:
			x, y = x+1, y-1
		case y == 7:
			x, up = x+1, true
		case x == 0:
			y, up = y+1, true
		default:
			x, y = x-1, y+1
		}
	}
	for k := 64; k < 128; k++ {
		p[k] = 63
	}
	return p
}()

// ac reads the coefficients 1 … 63 of a block and returns the last one's number.
func (b *bits) ac(coef *[64]int16, t *table) (last int) {
	acc, left, pos, buf, end := b.acc, b.left, b.pos, b.buf, b.end
	k := 0
	for k < 63 {
		if pos <= end {
			acc |= binary.BigEndian.Uint64(buf[pos:]) >> (left & 63)
		}
		pos += int((63 - left) >> 3)
		left |= 56
		e := t.values[acc>>(64-lookBits)]
		if step := e >> 8 & 0xff; step != 0 {
			k += int(step)
			coef[place[k&127]&63] = int16(e >> 16)
			acc <<= e & 63
			left -= uint(e & 63)
			continue
		}
		l, s := uint(e&63), byte(e>>16)
		if l == 0 {
			l, s = t.find(acc)
		}
		acc <<= l & 63
		left -= l
		size := uint(s & 15)
		if size == 0 {
			if s != 0xf0 {
				break
			}
			k += 16
			continue
		}
		k += int(s>>4) + 1
		coef[place[k&127]&63] = int16(extend(int(acc>>1>>(63-size)), size))
		acc <<= size
		left -= size
	}
	b.acc, b.left, b.pos = acc, left, pos
	return k
}

// find looks up a code longer than lookBits.
func (t *table) find(acc uint64) (l uint, symbol byte) {
	for l = lookBits + 1; l <= 16; l++ {
		if code := int32(acc >> (64 - l)); code <= t.most[l] {
			return l, t.vals[(t.offset[l]+code)&255]
		}
	}
	return noCode, 0
}

// skipAC passes over the coefficients 1 … 63 of a block.
func (b *bits) skipAC(t *table) {
	acc, left, pos, buf, end := b.acc, b.left, b.pos, b.buf, b.end
	k := 0
	for k < 63 {
		if pos <= end {
			acc |= binary.BigEndian.Uint64(buf[pos:]) >> (left & 63)
		}
		pos += int((63 - left) >> 3)
		left |= 56
		e := t.values[acc>>(64-lookBits)]
		if step := e >> 8 & 0xff; step != 0 {
			k += int(step)
			acc <<= e & 63
			left -= uint(e & 63)
			continue
		}
		l, s := uint(e&63), byte(e>>16)
		if l == 0 {
			l, s = t.find(acc)
		}
		size := uint(s & 15)
		if size == 0 && s != 0xf0 {
			acc <<= l & 63
			left -= l
			break
		}
		k += int(s>>4) + 1
		acc <<= (l + size) & 63
		left -= l + size
	}
	b.acc, b.left, b.pos = acc, left, pos
}
