package stages

import "testing"

// A batch that is given back may have a new owner at once: nothing of it is changed afterwards.
func TestReleaseThenReuse(t *testing.T) {
	b, given := &Batch{}, 0
	b.release = func() {
		given++
		b.release = func() { given++ } // of the new owner, who takes it before Release returns
	}
	b.Release()
	b.Release()
	b.Release()
	if given != 2 {
		t.Errorf("given back %d times by two owners", given)
	}
}
