package flows

import (
	"encoding/json"

	"github.com/contraflow/contraflow/stages"
)

// Averages are the running means of an epoch's logged values, weighted by batch size as the reference's meters are. Their state
// is part of a checkpoint, so that a run resumed in mid-epoch reports the same epoch.
type Averages struct {
	Epoch   int                `json:"epoch"`
	Samples int                `json:"samples"`
	LR      float64            `json:"lr"`
	Sums    map[string]float64 `json:"sums"`
}

// Add counts a step; the first of an epoch starts anew. It says whether the step was the last of its epoch.
func (a *Averages) Add(r *stages.Report) bool {
	if a.Epoch != r.Plan.Epoch || a.Sums == nil {
		*a = Averages{Epoch: r.Plan.Epoch, Sums: map[string]float64{}}
	}
	a.LR = r.LR
	if !r.Skipped {
		a.Samples += r.Samples
		a.Sums["loss"] += r.Loss * float64(r.Samples)
		for _, v := range r.Values {
			a.Sums[v.Name] += v.V * float64(r.Samples)
		}
	}
	return r.Plan.Batch == r.Plan.Of-1
}

// Mean is the average of one value so far.
func (a *Averages) Mean(name string) float64 {
	return a.Sums[name] / float64(max(a.Samples, 1))
}

const metersKey = "meters"

func (a *Averages) save(meta map[string]json.RawMessage) error {
	text, err := json.Marshal(a)
	if err == nil {
		meta[metersKey] = text
	}
	return err
}

func (a *Averages) load(meta map[string]json.RawMessage) error {
	if text, ok := meta[metersKey]; ok {
		return json.Unmarshal(text, a)
	}
	return nil
}
