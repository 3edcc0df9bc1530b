package stages

import (
	"errors"
	"fmt"
)

// check refuses views that cannot be rendered, or would hold what was there before.
func (v *Views) check(c *Crops) error {
	for _, f := range v.Functions {
		if f.Render == nil || f.Channels < 1 {
			return fmt.Errorf("function %q: set Render, and Channels to at least 1", f.Name)
		}
	}
	if v.Raw && len(v.Functions) > 0 {
		return errors.New("with Raw no pictures are left to Functions: leave one of the two out")
	}
	if !v.Raw {
		if err := v.Space.Check(); err != nil {
			return err
		}
	}
	in := [3]int{-1, -1, -1} // view of every channel
	for i, channels := range v.Split {
		if len(channels) == 0 {
			return fmt.Errorf("view %d of Split has no channels", i)
		}
		for _, ch := range channels {
			if ch < 0 || ch > 2 {
				return fmt.Errorf("view %d of Split has channel %d: there are channels 0, 1 and 2", i, ch)
			}
			if in[ch] >= 0 && !v.Raw {
				return fmt.Errorf("channel %d is in view %d of Split and in view %d: every channel belongs to one at most", ch, in[ch], i)
			}
			in[ch] = i
		}
	}
	if len(c.Pictures) == 0 {
		return fmt.Errorf("step %d: a batch without pictures", c.Step)
	}
	for i, p := range c.Pictures {
		if first := c.Pictures[0]; p.W != first.W || p.H != first.H {
			return fmt.Errorf("step %d: picture %d is %d×%d pixels, the first of the batch %d×%d", c.Step, i, p.W, p.H, first.W, first.H)
		}
	}
	return nil
}

// check refuses towers and passes that do not belong together.
func (e *Encode) check() error {
	if e.Gradients == nil {
		return errors.New("nothing brings gradients: set Gradients to the feedback edge that Update sends to")
	}
	trained := false
	for i, t := range e.Towers {
		switch {
		case t.Program == nil || t.Params == nil:
			return fmt.Errorf("tower %d, %s, has no Program or no Params", i, t.Name)
		case t.Follows == i:
			return fmt.Errorf("tower %d, %s, follows itself: set Follows to -1 for a trained tower", i, t.Name)
		case t.Follows >= len(e.Towers):
			return fmt.Errorf("tower %d, %s, follows tower %d: there are %d towers, counted from 0", i, t.Name, t.Follows, len(e.Towers))
		}
		trained = trained || t.Follows < 0
	}
	if !trained {
		return errors.New("no tower is trained: Follows must be -1 for one at least")
	}
	for i, p := range e.Passes {
		switch {
		case p.Tower < 0 || p.Tower >= len(e.Towers):
			return fmt.Errorf("pass %d is through tower %d: there are %d towers, counted from 0", i, p.Tower, len(e.Towers))
		case p.Shuffle && e.Towers[p.Tower].Follows < 0:
			return fmt.Errorf("pass %d shuffles, and tower %d, %s, is trained: Shuffle is for momentum encoders", i, p.Tower, e.Towers[p.Tower].Name)
		}
	}
	return nil
}

// fits says whether a batch has what a pass encodes.
func (p Pass) fits(i int, b *Batch) error {
	views := max(len(b.Views), len(b.Pixels))
	switch {
	case len(b.Index) == 0:
		return errors.New("the batch has no samples")
	case p.View < 0 || p.View >= views:
		return fmt.Errorf("pass %d encodes view %d: the batch has %d, counted from 0", i, p.View, views)
	}
	return nil
}

// answer refuses gradients that are not those of the passes.
func (e *Encode) answer(g *Gradients) error {
	switch {
	case g.Step != e.batch.Step:
		return fmt.Errorf("gradients of step %d arrived for step %d", g.Step, e.batch.Step)
	case g.Skip:
		return nil
	case len(g.D) != len(e.Passes):
		return fmt.Errorf("step %d: gradients for %d of %d passes: Scores.D has one for every pass, nil for keys", g.Step, len(g.D), len(e.Passes))
	}
	for i, p := range e.Passes {
		if t := e.Towers[p.Tower]; g.D[i] != nil && t.Follows >= 0 {
			return fmt.Errorf("step %d: a gradient for pass %d, whose tower %s follows another: set its Follows to -1 to train it", g.Step, i, t.Name)
		}
	}
	return nil
}
