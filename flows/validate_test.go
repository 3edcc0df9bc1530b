package flows

import (
	"strings"
	"testing"
)

// What would not fit the memory is refused before it is taken: the weights, the bank of all images, the scores; and so it is by
// the benchmarks.
func TestFits(t *testing.T) {
	have := availableMemory()
	if have == 0 {
		t.Skip("the system does not say how much memory is free")
	}
	o := Defaults("cmc")
	o.Loss.K = 1
	_, step := StepBench{Flow: "cmc", Model: "alexnet", Batch: 2, ImageSize: 64, K: 1, N: 2e12, Steps: 1}.Run()
	_, rows := BankBench{Batch: 1, K: 1, D: 128, N: 1e13, Runs: 1}.Run()
	_, scores := BankBench{Batch: 1e8, K: 1e6, D: 1, N: 1, Runs: 1}.Run()
	found := map[string]error{
		"--feat_dim 128 with a bank of 4000000000000 rows takes":  fits(o, 2e12),
		"--feat_dim 128 with a bank of 4000000000000 rows":        step,
		"--feat_dim 128 with a bank of 10000000000000 rows takes": rows,
		"--batch 100000000 with --nce_k 1000000 takes":            scores,
	}
	if o.Net.FeatDim = 1 << 20; have < 40<<30 { // the weights of two towers are 46 GiB
		found["--feat_dim 1048576 of --model alexnet takes"] = fits(o, 0)
	}
	for want, err := range found {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if err := fits(Defaults("cmc"), 1000); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}
