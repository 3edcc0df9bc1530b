package flows

import (
	"fmt"
	"strings"
)

// harmless are flags that do not change what a run computes, or only how long and where it does.
var harmless = map[string]bool{
	"data_folder": true, "decoder": true, "bad_samples": true, "workers": true, "device": true, "tf32": true, "cuda_graph": true, "threads": true, "tb_path": true,
	"print_freq": true, "model_path": true, "run_name": true, "legacy_names": true, "preset": true, "resume": true, "force": true,
	"max_steps": true, "save_freq": true, "save_steps": true, "keep": true, "on_nan": true, "quiet": true, "warm": true,
	"amp": true, "opt_level": true, "knn_every": true, "metrics_addr": true, "autotune": true, "cpu_budget": true, "watchdog": true,
	"knn_images": true, "report": true,
}

// changes lists the flags whose values differ between the run that wrote a checkpoint and the one that goes on from it, and
// would make it another run. Epochs count with the cosine schedule only, which stretches over them.
func changes(saved, now Options) []string {
	var out []string
	for _, f := range flagTable() {
		if !f.applies(now.Method) || harmless[f.name] || (f.name == "epochs" && !now.Optim.Cosine) {
			continue
		}
		a, b := valueOf(f.value(&saved)).String(), valueOf(f.value(&now)).String()
		if a != b {
			out = append(out, fmt.Sprintf("--%s was %s, is %s", f.name, a, b))
		}
	}
	return out
}

// agrees refuses to go on with options that change the run, or with other data, unless forced, which is told.
func agrees(diff []string, force bool) (told []string, err error) {
	changed := &changedError{strings.Join(diff, "; ")}
	switch {
	case len(diff) == 0:
		return nil, nil
	case force:
		return []string{"--force: " + changed.differ()}, nil
	}
	return nil, changed
}

// changedError refuses a run that would go on as another.
type changedError struct{ what string }

func (e *changedError) differ() string { return "options differ from the checkpoint's: " + e.what }

func (e *changedError) Error() string {
	return e.differ() + ": give the old values, or --force to go on with the new ones"
}
