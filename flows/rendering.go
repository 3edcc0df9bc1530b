package flows

import "github.com/contraflow/contraflow/ops"

// renderings are what the device makes of the pixels of every view, so that the host uploads three bytes a pixel; nil when the
// host renders: on the processor, with Un-Mix, with views that are not colours, and for colour spaces that no device knows.
func (r *Run) renderings() []*ops.Rendering {
	if r.rendered != nil {
		return r.rendered
	}
	colours := r.o.Method == "cmc" || r.o.Method == "moco" || r.o.Method == "insdis"
	if !colours || len(r.towers) == 0 || r.unmixes() || len(r.views.funcs) > 0 || len(r.views.beside) > 0 {
		return nil
	}
	for _, t := range r.towers {
		if _, ok := t.Program.(ops.PixelProgram); !ok {
			return nil
		}
	}
	split := r.views.split
	if split == nil {
		for range r.views.crops {
			split = append(split, []int{0, 1, 2})
		}
	}
	var out []*ops.Rendering
	for _, channels := range split {
		v, ok := r.views.space.Rendering(channels)
		if !ok {
			return nil
		}
		out = append(out, v)
	}
	r.rendered = out
	return out
}
