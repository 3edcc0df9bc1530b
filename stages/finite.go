package stages

import (
	"fmt"
	"math"
)

// Trouble tells of a step with numbers that are not finite. Its slices belong to the step: copy what is to outlive the call.
type Trouble struct {
	*Batch
	Stage string      // where they were seen first: views, encode, contrast, or backward
	What  string      // "12 of 1024 values of the output of tower l"
	Out   [][]float32 // of every pass [B,F]; nil in backward, where the device has taken it back
	D     [][]float32 // gradients of the outputs, as far as there are any
	Loss  float64
}

func (t *Trouble) Error() string {
	return fmt.Sprintf("step %d: not finite in %s: %s", t.Step, t.Stage, t.What)
}

// maxSkips is how many steps in a row may be left out before the run ends: what does not recover is no accident.
const maxSkips = 20

// finite says how many values are not.
func finite(x []float32) (bad int) {
	for _, v := range x {
		if v-v != 0 { // only NaN and the infinities
			bad++
		}
	}
	return bad
}

// troubleOf looks for values that are not finite in a scored batch, in the order in which a step makes them; nil when there are
// none.
func troubleOf(s *Scores, names []string) *Trouble {
	t := &Trouble{Batch: s.Batch, Out: s.Out, D: s.D, Loss: s.Loss}
	at := func(stage, what string, x []float32) *Trouble {
		t.Stage, t.What = stage, fmt.Sprintf("%d of %d values of %s", finite(x), len(x), what)
		return t
	}
	bad := math.IsNaN(s.Loss) || math.IsInf(s.Loss, 0) // as Contrast makes it for outputs that are not
	for _, x := range s.D {
		bad = bad || finite(x) > 0
	}
	if !bad {
		return nil
	}
	for i, x := range s.Views {
		if finite(x) > 0 {
			return at("views", fmt.Sprintf("view %d", i), x)
		}
	}
	for i, x := range s.Out {
		if finite(x) > 0 {
			return at("encode", "the output of "+passName(names, i), x)
		}
	}
	for i, x := range s.D {
		if finite(x) > 0 && !math.IsNaN(s.Loss) && !math.IsInf(s.Loss, 0) {
			return at("contrast", "the gradient of "+passName(names, i), x)
		}
	}
	t.Stage, t.What = "contrast", fmt.Sprintf("the loss is %v", s.Loss)
	return t
}

func passName(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("pass %d", i)
}
