package cpu

// job is a loop that the device's threads share: chunks in any order, each on one worker with the worker's scratch. What a chunk
// computes depends on its number alone.
//
// Every loop is a type whose fields are its arguments, and the device has a place for one of each: loops run one after another, and
// a step that fills places which exist allocates nothing. Maps are held by value, so that one made for a single call needs no
// place of its own.
type job interface {
	do(d *Device, sc *scratch, chunk int)
}

// jobs are the places.
type jobs struct {
	load           load
	unload         unload
	zip            zip
	blank          blank
	windowRows     windowRows
	packBackward   packBackward
	roundPanels    roundPanels
	weightPanels   weightPanels
	weightTiles    weightTiles
	weightBlocks   weightBlocks
	both           both
	segmentPart    segmentPart
	segmentSum     segmentSum
	winoWeights    winoWeights
	winoBlocks     winoBlocks
	winoInputs     winoInputs
	winoPanels     winoPanels
	winoParts      winoParts
	groupedForward groupedForward
	groupedBack    groupedBack
	linear         linear
	linearBack     linearBack
	linearRows     linearRows
	normSums       normSums
	normApply      normApply
	normBackSums   normBackSums
	normBack       normBack
	maxPool        maxPool
	maxPoolBack    maxPoolBack
	meanPool       meanPool
	meanPoolBack   meanPoolBack
	backDropout    backDropout
	backL2         backL2
	sgd            sgd
	average        average
	squares        squares
}

// run puts a job in its place and lets the threads do its chunks.
func run[J any, P interface {
	*J
	job
}](d *Device, place P, chunks int, j J) {
	*place = j
	d.loop(place, chunks)
}

func (d *Device) loop(j job, chunks int) {
	d.job = j
	d.pool.run(chunks, d.chunk)
	d.level()
}

// postpone puts a job in its place and leaves it to the next runAlong, or to catchUp.
//
// A layer's gradients of weights and of input depend on nothing of each other. The one loop is postponed until the other comes along:
// who is done with its part of the few large chunks of the first goes on with the many small ones of the second.
func postpone[J any, P interface {
	*J
	job
}](d *Device, place P, chunks int, j J) {
	d.catchUp()
	*place = j
	d.waiting, d.waitingChunks = place, chunks
}

// runAlong is run, with the job that was postponed.
func runAlong[J any, P interface {
	*J
	job
}](d *Device, place P, chunks int, j J) {
	if d.waiting == nil || chunks < d.pool.threads {
		run(d, place, chunks, j)
		return
	}
	*place = j
	b := both{d.waiting, place, d.waitingChunks, chunks}
	d.waiting = nil
	run(d, &d.jobs.both, b.a+b.b, b)
}

// catchUp does the job that was postponed, if nothing came along.
func (d *Device) catchUp() {
	if j := d.waiting; j != nil {
		d.waiting = nil
		d.loop(j, d.waitingChunks)
	}
}

// both is two jobs of a and b chunks, b being at least the threads: of the chunks a worker begins with, first those of the first job,
// then those of the second.
type both struct {
	first, second job
	a, b          int
}

func (j *both) do(d *Device, sc *scratch, p int) {
	n, t := j.a+j.b, d.pool.threads
	w := ((p+1)*t - 1) / n // whose share p is in
	from, _ := span(n, t, w)
	a0, a1 := span(j.a, t, w)
	if i := p - from; i < a1-a0 {
		j.first.do(d, sc, a0+i)
	} else {
		j.second.do(d, sc, p-a1)
	}
}

// do is a chunk of the job that runs.
func (d *Device) do(worker, chunk int) { d.job.do(d, &d.scratch[worker], chunk) }

// level gives every worker as much scratch as the one that has most: which worker gets the chunk that needs it is left to chance,
// and after one step nobody is to need more.
func (d *Device) level() {
	for i := range d.scratch[0].buffers() {
		most := 0
		for w := range d.scratch {
			most = max(most, len(*d.scratch[w].buffers()[i]))
		}
		for w := range d.scratch {
			grow32(d.scratch[w].buffers()[i], most)
		}
	}
}

func (s *scratch) buffers() [8]*[]float32 {
	return [...]*[]float32{&s.a, &s.tileSum, &s.tmp, &s.edge, &s.v, &s.y, &s.m, &s.own.data}
}
