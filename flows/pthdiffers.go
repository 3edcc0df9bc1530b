package flows

import (
	"fmt"
	"math"
	"strings"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/torch"
)

// optOf reads the options that a .pth of the reference keeps, nil when there are none.
func optOf(s *checkpoint.State) (*torch.Dict, error) {
	text, ok := s.Meta[metaOpt]
	if !ok {
		return nil, nil
	}
	v, err := parseJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", metaOpt, err)
	}
	opt, ok := v.(*torch.Dict)
	if !ok {
		return nil, fmt.Errorf("%s is no JSON object", metaOpt)
	}
	return opt, nil
}

// differences is a line on what made a .pth of the reference and does not make the rest of this run; "" when there is nothing to tell.
func (r *Run) differences(s *checkpoint.State) (string, error) {
	opt, err := optOf(s)
	if err != nil || opt == nil {
		return "", err
	}
	saved := r.o
	saved.read(opt)
	return differing(s, r.o.Run.Resume, changes(saved, r.o), r.o.Optim.Rate(max(s.Epoch, 1)))
}

// differences is that of [Run].
func (r *ProbeRun) differences(s *checkpoint.State) (string, error) {
	opt, err := optOf(s)
	if err != nil || opt == nil {
		return "", err
	}
	saved := r.o
	for _, f := range probeFlags() {
		readFlag(opt, f.value(&saved), append([]string{f.name}, f.aliases...))
	}
	return differing(s, r.o.Resume, probeChanges(saved, r.o), r.o.rate(max(s.Epoch, 1)))
}

// differing adds the rate that the optimiser has stored: the reference goes on with it until its schedule changes it.
func differing(s *checkpoint.State, path string, diff []string, rate float64) (string, error) {
	stored, _, err := optimizerOf(s)
	if err != nil {
		return "", err
	}
	if _, ok := s.Meta[metaOptimizer]; ok && math.Abs(stored.LR-rate) > 1e-9*rate { // rates are products, rounded in another order
		diff = append(diff, fmt.Sprintf("its optimiser's rate was %v, the schedule has %v", stored.LR, rate))
	}
	if len(diff) == 0 {
		return "", nil
	}
	return fmt.Sprintf("--resume %s goes on with options that are not the file's: %s", path, strings.Join(diff, "; ")), nil
}
