package jpeg

// refine reads one block of a progressive scan into the coefficients.
func (r *reader) refine(s scan, c *component, bx, by int) {
	block := (*[64]int16)(c.coef[(by*c.stride+bx)*64:])
	switch {
	case s.start == 0 && s.high == 0:
		c.dcLast += r.bits.dcDiff(&r.dc[c.dc])
		block[0] = int16(c.dcLast << s.low)
	case s.start == 0:
		if r.bits.take(1) == 1 {
			block[0] |= 1 << s.low
		}
	case s.high == 0:
		r.firstAC(s, block, &r.ac[c.ac])
	default:
		r.nextAC(s, block, &r.ac[c.ac])
	}
}

// firstAC reads the high bits of a band of coefficients.
func (r *reader) firstAC(s scan, block *[64]int16, t *table) {
	if r.eobRun > 0 {
		r.eobRun--
		return
	}
	b := &r.bits
	for k := s.start; k <= s.end; k++ {
		symbol := b.symbol(t)
		run, size := int(symbol>>4), uint(symbol&15)
		if size == 0 {
			if run != 15 {
				r.eobRun = 1<<run + b.take(uint(run)) - 1
				return
			}
			k += 15
			continue
		}
		k += run
		block[place[k&127]&63] = int16(extend(b.take(size), size) << s.low)
	}
}

// nextAC reads one more bit of a band: of the coefficients that are not zero yet, and those that become so.
func (r *reader) nextAC(s scan, block *[64]int16, t *table) {
	b, bit := &r.bits, int16(1)<<s.low
	k := s.start
	if r.eobRun == 0 {
		for ; k <= s.end; k++ {
			symbol := b.symbol(t)
			run, value := int(symbol>>4), int16(0)
			if symbol&15 != 0 {
				value = -bit
				if b.take(1) == 1 {
					value = bit
				}
			} else if run != 15 {
				r.eobRun = 1<<run + b.take(uint(run))
				break
			}
			for k <= s.end {
				p := &block[place[k&127]&63]
				if *p != 0 {
					r.correct(p, bit)
				} else {
					if run == 0 {
						break
					}
					run--
				}
				k++
			}
			if value != 0 {
				block[place[k&127]&63] = value
			}
		}
	}
	if r.eobRun > 0 {
		for ; k <= s.end; k++ {
			if p := &block[place[k&127]&63]; *p != 0 {
				r.correct(p, bit)
			}
		}
		r.eobRun--
	}
}

// correct reads the next bit of a coefficient that is not zero.
func (r *reader) correct(p *int16, bit int16) {
	if r.bits.take(1) == 0 || *p&bit != 0 {
		return
	}
	if *p >= 0 {
		*p += bit
	} else {
		*p -= bit
	}
}
