package flows_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/io/synth"
)

// encoderRun trains one step and returns data and run folder.
func encoderRun(t *testing.T, method string) (data, dir string) {
	t.Helper()
	data = images(t)
	o := small(t, method, data)
	o.Run.MaxSteps, o.Run.Name = 1, "encoder"
	run(t, o)
	return data, filepath.Join(o.Run.ModelPath, "encoder")
}

// smallProbe are options of a probe that takes less than a second.
func smallProbe(t *testing.T, data, dir string) flows.ProbeOptions {
	t.Helper()
	o := flows.DefaultProbe()
	o.ModelPath, o.DataFolder, o.SavePath, o.TBPath, o.Decoder = dir, data, t.TempDir(), "", "go"
	o.BatchSize, o.Epochs, o.LR, o.DecayEpochs, o.Dataset = 10, 2, 0.01, []int{1}, "imagenet100"
	return o
}

func probe(t *testing.T, o flows.ProbeOptions) *flows.ProbeResult {
	t.Helper()
	res, err := flows.Probe(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// lastTensors are the bytes of the newest checkpoint's tensors.
func lastTensors(t *testing.T, dir string) []byte {
	t.Helper()
	step, err := os.ReadFile(filepath.Join(dir, "latest"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, strings.TrimSpace(string(step)), "tensors.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// One, two, three and four replicas give the same parameters to the bit, with SGD and Adam; with batch norm too when it is
// synchronised, and others when every replica normalises its own rows.
func TestProbeReplicas(t *testing.T) {
	t.Parallel()
	data, dir := encoderRun(t, "cmc")
	for name, set := range map[string]func(o *flows.ProbeOptions){
		"sgd":     func(*flows.ProbeOptions) {},
		"adam":    func(o *flows.ProbeOptions) { o.Adam, o.LR = true, 0.001 },
		"sync_bn": func(o *flows.ProbeOptions) { o.FeatureBN, o.SyncBN = true, true },
		"bn":      func(o *flows.ProbeOptions) { o.FeatureBN = true },
	} {
		var first []byte
		for _, n := range []int{1, 2, 3, 4} {
			o := smallProbe(t, data, dir)
			o.Replicas, o.Epochs, o.Layer = n, 1, 4
			set(&o)
			got := lastTensors(t, probe(t, o).Dir)
			if first == nil {
				first = got
			}
			if same := bytes.Equal(first, got); same != (name != "bn" || n == 1) {
				t.Errorf("%s: %d replicas and 1: equal parameters: %v", name, n, same)
			}
		}
	}
}

// A probe that stops in the middle of an epoch, of training or of validation, goes on to the same bits. So does one with cached
// features, whose result is that of the images.
func TestProbeResume(t *testing.T) {
	t.Parallel()
	data, dir := encoderRun(t, "cmc")
	for _, adam := range []bool{false, true} {
		straight := smallProbe(t, data, dir)
		straight.Augment, straight.Adam, straight.FeatureBN = false, adam, adam
		want := probe(t, straight)
		cached := straight
		cached.Cache, cached.SavePath = true, t.TempDir()
		if got := probe(t, cached); !bytes.Equal(lastTensors(t, want.Dir), lastTensors(t, got.Dir)) {
			t.Error("cached features give other parameters")
		}
		for _, at := range []int{1, 2, 3, 4, 5} { // items: three training batches and two validation batches an epoch
			o := straight
			o.SavePath, o.Resume = t.TempDir(), "auto"
			r, err := flows.PrepareProbe(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			stop := make(chan struct{})
			r.Stop = stop
			seen := 0
			r.Observe = func(*flows.ProbeStep) {
				if seen++; seen == at {
					close(stop)
				}
			}
			if _, err := r.Run(context.Background()); err != nil && !errors.Is(err, flows.ErrStopped) {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			got := probe(t, o)
			if !bytes.Equal(lastTensors(t, want.Dir), lastTensors(t, got.Dir)) {
				t.Errorf("adam %v: stopped after item %d: other parameters", adam, at)
			}
			if want.Top1 != got.Top1 || want.Best != got.Best || want.LastTop1 != got.LastTop1 {
				t.Errorf("adam %v: stopped after item %d: %+v, straight %+v", adam, at, got, want)
			}
			a, b := probeLines(t, want.Dir), probeLines(t, got.Dir)
			if !slices.Equal(a, b) {
				t.Errorf("adam %v: stopped after item %d: metrics differ:\n%s\n%s", adam, at, strings.Join(a, "\n"), strings.Join(b, "\n"))
			}
		}
	}
}

// A probe that is killed after its last epoch, but before all is written, makes up for it.
func TestProbeKilledAtItsEnd(t *testing.T) {
	data, dir := encoderRun(t, "cmc")
	o := smallProbe(t, data, dir)
	o.SaveFreq = 1
	want := probe(t, o)
	o.SavePath, o.Resume = t.TempDir(), "auto"
	r, err := flows.PrepareProbe(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, kill := context.WithCancel(context.Background())
	defer kill()
	r.EndOfEpoch = func(e flows.ProbeEpoch) {
		if e.Epoch == o.Epochs {
			kill()
		}
	}
	_, killed := r.Run(ctx)
	if err := r.Close(); err != nil || !errors.Is(killed, context.Canceled) {
		t.Fatal(killed, err)
	}
	got := probe(t, o)
	for _, name := range []string{"result.json", "last.pth"} {
		if _, err := os.Stat(filepath.Join(got.Dir, name)); err != nil {
			t.Error(err)
		}
	}
	if a, b := probeLines(t, want.Dir), probeLines(t, got.Dir); !slices.Equal(a, b) || !bytes.Equal(lastTensors(t, want.Dir), lastTensors(t, got.Dir)) {
		t.Errorf("other parameters or metrics:\n%s\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
}

// A probe that is told to stop while it computes features does so at once, with a checkpoint.
func TestProbeStopsComputingFeatures(t *testing.T) {
	data, dir := encoderRun(t, "cmc")
	o := smallProbe(t, data, dir)
	o.Augment, o.Cache = false, true
	want := probe(t, o)
	o.SavePath, o.Resume = t.TempDir(), "auto"
	r, err := flows.PrepareProbe(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	close(stop)
	r.Stop = stop
	_, stopped := r.Run(context.Background())
	if err := r.Close(); err != nil || !errors.Is(stopped, flows.ErrStopped) {
		t.Fatal(stopped, err)
	}
	if features, err := filepath.Glob(filepath.Join(o.SavePath, "features", "*.npy")); err != nil || len(features) > 0 {
		t.Errorf("it computed %v, %v", features, err)
	}
	if got := probe(t, o); !bytes.Equal(lastTensors(t, want.Dir), lastTensors(t, got.Dir)) {
		t.Error("other parameters")
	}
}

// An encoder whose weights are NaN is named, and not a data set whose images could not be read, nor scored.
func TestProbeOfNaN(t *testing.T) {
	data, dir := encoderRun(t, "cmc")
	file := filepath.Join(t.TempDir(), "encoder.safetensors")
	if err := flows.Convert(dir, file, false); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw = bytes.ReplaceAll(raw, []byte("crc32c:"), []byte("no sum:")) // as in files of others
	for i := 8 + int(binary.LittleEndian.Uint64(raw)); i < len(raw); i++ {
		raw[i] = 0xff
	}
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "run")
	if err := flows.Convert(file, broken, false); err != nil {
		t.Fatal(err)
	}
	o := smallProbe(t, data, broken)
	o.Augment = false
	for _, o.Cache = range []bool{true, false} {
		if _, err := flows.Probe(context.Background(), o); err == nil || !strings.Contains(err.Error(), ".jpg are NaN: the encoder's weights are no use") {
			t.Errorf("cached %v: %v", o.Cache, err)
		}
	}
	if s, err := flows.ScoreKNN(context.Background(), broken, data, flows.DefaultKNN, flows.Open{}); err == nil || !strings.Contains(err.Error(), ".jpg are NaN: the encoder's weights are no use") {
		t.Errorf("knn: %+v, %v", s, err)
	}
}

// A classifier that the last step of an epoch has spoilt is named before anything is made of its validation.
func TestProbeDiverges(t *testing.T) {
	data, dir := encoderRun(t, "cmc")
	o := smallProbe(t, data, dir)
	o.LR, o.BatchSize = 1e300, 100
	if _, err := flows.Probe(context.Background(), o); err == nil || !strings.Contains(err.Error(), "validation after step 0: the loss is NaN: lower --learning_rate") {
		t.Error(err)
	}
}

// A probe is that of one encoder on one set of images: with others it neither goes on nor gives its old result.
func TestProbeOfOthers(t *testing.T) {
	data, dir := encoderRun(t, "cmc")
	o := smallProbe(t, data, dir)
	o.Resume, o.Name, o.Epochs = "auto", "probe", 1
	probe(t, o)
	refused := func(want string) {
		t.Helper()
		if _, err := flows.Probe(context.Background(), o); err == nil || !strings.Contains(err.Error(), want+": give the old values, or --force") {
			t.Errorf("want %q: %v", want, err)
		}
	}
	e := small(t, "cmc", data)
	e.Run.MaxSteps, e.Run.Name, e.Run.Seed = 1, "run", 2
	run(t, e)
	o.ModelPath = filepath.Join(e.Run.ModelPath, "run")
	refused("--model_path has another encoder")
	o.ModelPath = dir
	image := filepath.Join(data, "val", synth.ClassName(0), "00000.jpg")
	if err := os.Rename(image, filepath.Join(filepath.Dir(image), "x.jpg")); err != nil {
		t.Fatal(err)
	}
	refused("--data_folder has other images of val, or in another order")
	if err := os.Remove(filepath.Join(data, "train", synth.ClassName(0), "00000.jpg")); err != nil {
		t.Fatal(err)
	}
	refused("--data_folder had 27 images of 3 classes in train, has 26 of 3; --data_folder has other images of val, or in another order")
	o.Force = true
	r, err := flows.PrepareProbe(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if told := strings.Join(r.Warnings, "\n"); !strings.Contains(told, "--force: options differ from the checkpoint's: --data_folder had 27 images of 3 classes in train, has 26 of 3;") {
		t.Errorf("told %q", told)
	}
	if _, err := r.Run(context.Background()); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// The time of a probe that goes on is that of all its parts, and an epoch begins where the one before ended.
func TestProbeTime(t *testing.T) {
	data, dir := encoderRun(t, "cmc")
	o := smallProbe(t, data, dir)
	o.Resume, o.BatchSize, o.Epochs = "auto", 100, 1
	file := filepath.Join(probe(t, o).Dir, "metrics.jsonl")
	lines, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	put(t, file, regexp.MustCompile(`"seconds":[^}]*`).ReplaceAll(lines, []byte(`"seconds":1000`)))
	o.Epochs = 3
	r, err := flows.PrepareProbe(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	const pause = 50 * time.Millisecond
	r.EndOfEpoch = func(e flows.ProbeEpoch) {
		if e.Passed < 1000 || e.Epoch == 3 && (e.Seconds < pause.Seconds() || e.ImagesPerSec != 39/e.Seconds) {
			t.Errorf("%+v", e)
		}
		time.Sleep(pause)
	}
	if res, err := r.Run(context.Background()); err != nil || res.Seconds < 1000 {
		t.Errorf("%+v, %v", res, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if again := probe(t, o); again.Seconds < 1000 {
		t.Errorf("a probe at its end took %v s", again.Seconds)
	}
}

// probeLines is metrics.jsonl without times.
func probeLines(t *testing.T, dir string) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		l, _, _ = strings.Cut(l, `,"images_per_s"`)
		l, _, _ = strings.Cut(l, `,"seconds"`)
		out = append(out, l)
	}
	return out
}

// Every layer of encoders of every kind can be probed, and one tower alone.
func TestProbeLayers(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"cmc", "moco"} {
		data, dir := encoderRun(t, method)
		for layer := 1; layer <= 7; layer++ {
			o := smallProbe(t, data, dir)
			o.Layer, o.Epochs, o.Augment = layer, 1, false
			if res := probe(t, o); res.Features < 64 || res.Layer != layer {
				t.Errorf("%s layer %d: %+v", method, layer, res)
			}
		}
		if method == "cmc" {
			o := smallProbe(t, data, dir)
			o.Epochs, o.Towers = 1, []int{1}
			if res := probe(t, o); res.Features != 256 {
				t.Errorf("one tower has %d features, want 256", res.Features)
			}
		}
	}
}

// What does not fit gets one clear line.
func TestProbeMistakes(t *testing.T) {
	data, dir := encoderRun(t, "cmc")
	noVal, other := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	for _, d := range []string{noVal, other} {
		if err := synth.Write(context.Background(), d, synth.Options{Classes: 3, PerClass: 2, ValPerClass: 2, Size: 48, Seed: 1}); err != nil {
			t.Fatal(err)
		}
	}
	names, err := os.ReadDir(filepath.Join(other, "val"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(noVal, "val")), os.Rename(filepath.Join(other, "val", names[0].Name()), filepath.Join(other, "val", "zebra"))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		set  func(o *flows.ProbeOptions)
		want string
	}{
		{func(o *flows.ProbeOptions) { o.DataFolder = noVal }, "has no folder val"},
		{func(o *flows.ProbeOptions) { o.DataFolder = other }, "they must be the same: " + names[0].Name() + " only in train; zebra only in val"},
		{func(o *flows.ProbeOptions) { o.Layer = 9 }, "--layer 9: resnet18v1 has layers 1 to 7"},
		{func(o *flows.ProbeOptions) { o.Model = "alexnet" }, "--model alexnet: " + dir + " holds the encoder of resnet18v1"},
		{func(o *flows.ProbeOptions) { o.View = "YCbCr" }, "was trained on Lab"},
		{func(o *flows.ProbeOptions) { o.Towers = []int{2} }, "--towers 2"},
		{func(o *flows.ProbeOptions) { o.ModelPath = data }, "--model_path"},
		{func(o *flows.ProbeOptions) { o.Cache = true }, "--cache_features"},
		{func(o *flows.ProbeOptions) { o.Replicas = 9 }, "--replicas 9"},
		{func(o *flows.ProbeOptions) { o.Name = ".." }, `--run_name ".."`},
		{func(o *flows.ProbeOptions) { o.LR = math.Inf(1) }, "--learning_rate +Inf"},
		{func(o *flows.ProbeOptions) { o.Workers = 5000 }, "--workers 5000"},
		{func(o *flows.ProbeOptions) { o.LR = 1e38; o.Epochs = 9 }, "lower --learning_rate"},
	} {
		o := smallProbe(t, data, dir)
		c.set(&o)
		_, err := flows.Probe(context.Background(), o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(strings.Split(fmt.Sprint(err), "\n")[0], "panic") {
			t.Errorf("got %v, want a message with %q", err, c.want)
		}
	}
}

// A classifier of which one velocity was lost is refused; without any they are zero.
func TestRestoreOfLostVelocity(t *testing.T) {
	m, err := encoders.Lookup("resnet18v1", 128)
	if err != nil {
		t.Fatal(err)
	}
	h, err := flows.NewLinearHead(m.Classifier(6, 3, ""), 8, 4, 1, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	s, err := h.State()
	if err != nil {
		t.Fatal(err)
	}
	s.Moment[1] = nil
	if err := h.Restore(s); err == nil || !strings.Contains(err.Error(), "but none of "+s.Names[1]) {
		t.Errorf("of %q one is lost: %v", s.Names, err)
	}
	s.Moment[0] = nil
	if err := h.Restore(s); err != nil {
		t.Errorf("without any: %v", err)
	}
}
