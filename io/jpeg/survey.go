package jpeg

import (
	"bytes"
	"fmt"
)

// maxScans and maxWork, the blocks of all scans together, bound the time that a small file can ask for, since a run of 32767 empty blocks
// is two bytes. Of the largest picture they allow eight visits of every block at full sampling; that is a few seconds.
const maxScans, maxWork = 500, 1 << 26

// guessed is how many coefficients of a block libjpeg guesses from the blocks around it while no scan has finished them.
const guessed = 10

var endMarker = []byte{0xff, markEOI}

// survey walks from the frame over the scans without decoding them, through a progressive file to its end and through others until every
// channel has begun. It refuses files that are cut off or ask for too much work. Of progressive files that leave coefficients unfinished
// it says errForeign: libjpeg smooths their blocks. A broken scan header is left to whoever decodes.
func (r *reader) survey() error {
	defer func(at int) { r.pos = at }(r.pos)
	scans, work := 0, 0
	for r.progressive || !r.begun() {
		m, body, err := r.marker()
		if err != nil {
			return err
		}
		if m == markEOI {
			break
		}
		if m != markSOS {
			continue
		}
		if scans == 0 {
			r.endless = !r.endAhead()
		}
		s, err := r.scanHeader(body)
		if err != nil {
			break
		}
		x, y := r.mcus(s)
		scans, work = scans+1, work+x*y*s.blocks()
		if scans > maxScans || work > maxWork {
			return fmt.Errorf("broken jpeg: %d scans over %d blocks: taken for a decompression bomb", scans, work)
		}
		for _, c := range s.comps {
			for k := s.start; k <= min(s.end, guessed-1); k++ {
				c.known[k] = s.low + 1
			}
		}
	}
	if r.endless && scans != 1 {
		return errTruncated // libjpeg waits for the end before it decodes several scans
	}
	if r.progressive && r.unfinished() {
		return errForeign
	}
	return nil
}

// endAhead says whether the end marker comes behind the header of the first scan, where the reader stands; a thumbnail in front of it has
// one of its own.
func (r *reader) endAhead() bool {
	return bytes.HasSuffix(r.data, endMarker) || bytes.Contains(r.data[r.pos:], endMarker)
}

// begun says whether every channel has had a scan.
func (r *reader) begun() bool {
	for i := range r.comps {
		if r.comps[i].known[0] == 0 {
			return false
		}
	}
	return true
}

// unfinished says whether libjpeg would smooth: every channel has begun, and bits of a coefficient that it can guess are not known.
func (r *reader) unfinished() bool {
	if !r.begun() {
		return false
	}
	for i := range r.comps {
		for _, low := range r.comps[i].known[1:] {
			if low != 1 {
				return true
			}
		}
	}
	return false
}
