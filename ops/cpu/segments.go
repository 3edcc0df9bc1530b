package cpu

// segmentFloats is up to how many values a weight's gradient is summed in segments of pixels, each on one worker; larger ones are
// cut into tiles.
const segmentFloats = 200 << 10

// inParts is in how many segments, of equally many pieces, a weight's gradient of size values is summed that would be the sum of n
// pieces, and how many pieces there are then. Whatever power of two the workers are, they have equally much to do. One segment is
// for gradients too large for that and sums of one piece.
func inParts(n, size int) (segments, pieces int) {
	if size > segmentFloats || n == 1 {
		return 1, n
	}
	segments = 4
	for segments < 16 && 2*segments*size <= segmentFloats && (n+2*segments-1)/(2*segments)*2*segments <= n*5/4 {
		segments *= 2
	}
	return segments, (n + segments - 1) / segments * segments
}

// segmented is a weight's gradient whose pixels are summed in segments: segment writes the part of one.
type segmented interface {
	segment(sc *scratch, part []float32, segments, s int)
}

// inSegments lets g write the part of every segment into a gradient of its own; sumUp then adds them to dw in order, or with fresh
// writes them.
func (d *Device) inSegments(dw []float32, size, segments int, fresh bool, g segmented) {
	parts := grow32(&d.parts, segments*size+slack)
	postpone(d, &d.jobs.segmentPart, segments, segmentPart{g, parts, size, segments})
	d.sum = segmentSum{dw, parts, size, segments, pieces(size, 1<<12, 64), fresh}
}

// sumUp completes the gradient of weights that was computed last.
func (d *Device) sumUp() {
	d.catchUp()
	if d.sum.pieces > 0 {
		run(d, &d.jobs.segmentSum, d.sum.pieces, d.sum)
		d.sum.pieces = 0
	}
}

// segmentPart writes the part of one segment.
type segmentPart struct {
	g              segmented
	parts          []float32
	size, segments int
}

func (j *segmentPart) do(_ *Device, sc *scratch, s int) {
	j.g.segment(sc, j.parts[s*j.size:][:j.size:j.size+slack], j.segments, s)
}

// segmentSum adds a piece of all parts.
type segmentSum struct {
	dw, parts              []float32
	size, segments, pieces int
	fresh                  bool
}

func (j *segmentSum) do(d *Device, _ *scratch, p int) {
	from, to := span(j.size, j.pieces, p)
	out := j.dw[from:to]
	for s := range j.segments {
		part := j.parts[s*j.size+from:][:len(out)]
		if s == 0 && j.fresh {
			copy(out, part)
			continue
		}
		d.addTo(out, part)
	}
}
