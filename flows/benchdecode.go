package flows

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// DecodeBench says what to measure: the loading half of a flow, run into a sink.
type DecodeBench struct {
	Path      string // cmc, moco or insdis: whose loading
	Folder    string
	Workers   int
	ImageSize int
	Batch     int
	Seconds   float64
	Decoder   string
	CropLow   float64 // 0 takes the flow's own
}

// DecodeResult is what was measured.
type DecodeResult struct {
	ImagesPerS        float64                `json:"images_per_s"`
	ImagesPerSPerCore float64                `json:"images_per_s_per_core"` // a second of processor time
	Decoder           string                 `json:"decoder"`
	Workers           int                    `json:"workers"`
	Images            int                    `json:"images"`
	Seconds           float64                `json:"seconds"`
	Stages            map[string]DecodeStage `json:"stages"`
}

// DecodeStage is a stage's share of the time, and its time for a batch.
type DecodeStage struct {
	Workers int     `json:"workers"`
	Busy    float64 `json:"busy"` // of 1
	Starved float64 `json:"starved"`
	Blocked float64 `json:"blocked"`
	P50MS   float64 `json:"p50_ms"`
	P99MS   float64 `json:"p99_ms"`
}

// Check reports the first setting that cannot be measured.
func (b DecodeBench) Check() error {
	_, err := b.options()
	return err
}

// options are those of the run whose loading is measured.
func (b DecodeBench) options() (Options, error) {
	if err := measured("path", b.Path); err != nil {
		return Options{}, err
	}
	if !(b.Seconds > 0) || b.Seconds > 3600 {
		return Options{}, fmt.Errorf("--seconds %g: want a time above 0, and at most an hour", b.Seconds)
	}
	o := Defaults(b.Path)
	o.Data.Folder, o.Data.Workers, o.Data.ImageSize, o.Data.Decoder = b.Folder, b.Workers, b.ImageSize, b.Decoder
	o.Optim.BatchSize = b.Batch
	if b.CropLow != 0 {
		o.Data.CropLow = b.CropLow
	}
	return o, inBatch(Validate(o))
}

// Run measures.
func (b DecodeBench) Run(ctx context.Context) (DecodeResult, error) {
	o, err := b.options()
	if err != nil {
		return DecodeResult{}, err
	}
	r, err := prepareFitting(o)
	if err != nil {
		return DecodeResult{}, err
	}
	if b.Workers > 0 && b.Workers < runtime.GOMAXPROCS(0) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(b.Workers))
	}
	rate, err := r.Load(ctx, time.Duration(b.Seconds*float64(time.Second)))
	if err != nil {
		return DecodeResult{}, err
	}
	res := DecodeResult{ImagesPerS: rate.PerSecond(), ImagesPerSPerCore: rate.PerCore(), Decoder: r.decoder.Name(), Workers: r.workers(),
		Images: rate.Images, Seconds: rate.Seconds, Stages: map[string]DecodeStage{}}
	share := func(d time.Duration, workers int) float64 {
		return float64(d) / float64(max(rate.Stats.Elapsed, 1)) / float64(max(workers, 1))
	}
	ms := func(d time.Duration) float64 { return 1000 * d.Seconds() }
	for _, s := range rate.Stats.Stages {
		res.Stages[s.Name] = DecodeStage{Workers: s.Workers, Busy: share(s.Busy, s.Workers), Starved: share(s.Starved, s.Workers),
			Blocked: share(s.Blocked, s.Workers), P50MS: ms(s.P50), P99MS: ms(s.P99)}
	}
	return res, nil
}
