package flows

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/io/features"
	"github.com/contraflow/contraflow/stages"
)

// probeCache holds the frozen features of one half of a data set: row i is image i, and begins with NaN when that could not be read.
type probeCache struct{ *features.Matrix }

// openCache maps the features of both halves, computing what is not there yet. The file's name is a fingerprint of all
// that the features depend on, so that probes of one layer with other rates and schedules share it.
func (r *ProbeRun) openCache(ctx context.Context) error {
	dir := filepath.Join(r.o.SavePath, "features")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("--save_path: %w", err)
	}
	for i, half := range r.halves {
		path := filepath.Join(dir, r.fingerprint(i)+".npy")
		m, err := features.Open(path, half.data.Len(), r.frozen.Dim)
		filled := errors.Is(err, fs.ErrNotExist)
		if filled {
			m, err = r.fillCache(ctx, i, path)
		}
		if err != nil {
			return fmt.Errorf("--cache_features: %w", err)
		}
		r.cached[i] = &probeCache{m}
		if filled { // its bad images have been named and counted
			continue
		}
		if err := r.cached[i].check(half.data, r.o.BadSamples, r.OnBad); err != nil {
			return fmt.Errorf("--cache_features: %w", err)
		}
	}
	return nil
}

// errUncached is all that is known of an image whose row begins with NaN.
var errUncached = errors.New("its features are missing from the cache")

// check names the images without features, and refuses more of them than budget lets be unreadable: the probe that left them out may
// have allowed more.
func (c *probeCache) check(data stages.Dataset, budget float64, onBad func(name string, err error)) error {
	bad := 0
	for i := range c.N {
		if !c.unread(i) {
			continue
		}
		if onBad != nil {
			onBad(data.Name(i), errUncached)
		}
		bad++
		if err := stages.TooManyBad(data.Name(i), errUncached, bad, budget, c.N); err != nil {
			return err
		}
	}
	return nil
}

// unread says whether image i could not be read.
func (c *probeCache) unread(i int) bool {
	first := c.Row(i)[0]
	return first != first
}

// fillCache computes the features of one half into a new file.
func (r *ProbeRun) fillCache(ctx context.Context, half int, path string) (*features.Matrix, error) {
	m, err := features.Create(path, r.halves[half].data.Len(), r.frozen.Dim)
	if err != nil {
		return nil, err
	}
	s := stages.Sampler{N: m.N, Batch: min(r.o.BatchSize, m.N), Epochs: 1, Ordered: true}
	g := contraflow.New("features")
	plans := contraflow.Source(g, "sampler", func(yield func(probePlan, error) bool) {
		for p, err := range s.Plans() {
			if !yield(probePlan{p, half}, err) {
				return
			}
		}
	})
	crops := contraflow.Step(plans, "decode", r.decode, contraflow.Workers(decodeWorkers(r.o.Workers)))
	batches := contraflow.Step(crops, "views", r.render)
	contraflow.Each(batches, "encode", func(_ context.Context, b probeBatch) error {
		defer b.Release()
		rows := m.Values()[b.Index[0]*m.D:][:len(b.Index)*m.D]
		bad, err := r.features(rows, b)
		for i, id := range b.Index {
			if bad[id] {
				rows[i*m.D] = float32(math.NaN())
			}
		}
		return err
	})
	if err := g.Run(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	if err := m.Commit(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// gather is the stage that stands for decode, views and encode when features are cached.
func (r *ProbeRun) gather(_ context.Context, p probePlan) (*probeRows, error) {
	rows := r.newRows(p.Plan, p.half)
	for _, id := range p.Index {
		if c, data := r.cached[p.half], r.halves[p.half].data; c.unread(id) {
			rows.bad = append(rows.bad, stages.Substitution{Index: id, By: -1, Name: data.Name(id), Err: errUncached})
		} else {
			rows.add(c.Row(id), data.Label(id))
		}
	}
	return rows, nil
}

// fingerprint names the features of one half: encoder, layer, pool, size, view, decoder, and the files, those of archives and of
// views beside the images too, with sizes and times.
func (r *ProbeRun) fingerprint(half int) string {
	h, o := sha256.New(), r.o
	fmt.Fprintln(h, "NaN is unread") // before that, other images stood in
	fmt.Fprintln(h, r.encoder.Model.Name, o.Layer, o.Pool, o.Towers, o.ImageSize, o.View, r.encoder.Options.Data.Views, r.encoder.Options.Data.ViewMean,
		r.encoder.Options.Data.ViewStd, r.encoder.decoder.Name(), r.encoder.Options.Net.Direct, r.encoder.Options.Net.Stem)
	if r.encoder.Options.Net.AMP { // in bfloat16, where the device can
		fmt.Fprintln(h, "amp")
	}
	hashTensors(h, r.encoder)
	data, archive := r.halves[half].data, ""
	file := func(path string) bool {
		info, err := os.Stat(path)
		if err == nil {
			fmt.Fprintln(h, info.Size(), info.ModTime().UnixNano())
		}
		return err == nil
	}
	for i := range data.Len() {
		name := data.Name(i)
		fmt.Fprintln(h, name, data.Label(i))
		if at := strings.LastIndexByte(name, ':'); !file(name) && at >= 0 && name[:at] != archive { // FILE:PLACE, in an archive of many
			archive = name[:at]
			file(archive)
		}
		for _, b := range r.halves[half].decode.Beside {
			file(b.Files.Path(i))
		}
	}
	return map[int]string{0: "train-", 1: "val-"}[half] + hex.EncodeToString(h.Sum(nil))[:24]
}

func hashTensors(h hash.Hash, e *Encoder) {
	for i := range e.net.params {
		for _, spec := range e.net.graphs[i].Params {
			if t := e.state.Tensor(e.Model.Prefix(i) + spec.Name); t != nil {
				h.Write(t.Data)
			}
		}
	}
}
