package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs the command and returns its exit code and what it printed.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	endOut := captured(t, &os.Stdout)
	code, stderr = failing(t, args...)
	return code, endOut(), stderr
}

// failing runs the command and returns its exit code and what it printed on standard error.
func failing(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	end := captured(t, &os.Stderr)
	code = run(args)
	return code, end()
}

// captured takes what is written to a file from now on; the function that it returns ends that.
func captured(t *testing.T, f **os.File) (end func() string) {
	t.Helper()
	old := *f
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	*f = w
	out := make(chan string)
	go func() {
		var b bytes.Buffer
		io.Copy(&b, r)
		out <- b.String()
	}()
	return func() string {
		*f = old
		w.Close()
		return <-out
	}
}

// Every mistake gets one line and the right exit code.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if code, _, text := command(t, "data", "synth", "--out", data, "--classes", "2", "--per_class", "6", "--val_per_class", "2", "--size", "32"); code != 0 {
		t.Fatal(text)
	}
	empty := filepath.Join(dir, "empty")
	for _, d := range []string{"train/a", "train/b"} {
		if err := os.MkdirAll(filepath.Join(empty, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	one := filepath.Join(dir, "one")
	for _, half := range []string{"train", "val"} {
		if err := os.MkdirAll(filepath.Join(one, half), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(data, half, "01_ring"), filepath.Join(one, half, "01_ring")); err != nil {
			t.Fatal(err)
		}
	}
	train := []string{"train", "cmc", "--model", "resnet18v1", "--image_size", "32", "--nce_k", "4", "--batch_size", "4", "--tb_path=", "--dataset", "imagenet100", "--model_path", filepath.Join(dir, "runs")}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"nothing"}, 2, `no command "nothing"`},
		{[]string{"train", "nothing"}, 2, `no command "nothing"`},
		{[]string{"train", "nothing", "--data_folder", data}, 2, `train has no command "nothing"`},
		{[]string{"trian", "cmc", "--data_folder", data}, 2, `contraflow has no command "trian"`},
		{[]string{"train", "cmc", "--nothing"}, 2, "unknown flag"},
		{[]string{"help", "nothing"}, 2, `no command "nothing"`},
		{[]string{"help", "train", "nothing"}, 2, `no command "train nothing"`},
		{[]string{"data", "fetch", "nothing", "--out", dir}, 2, "one data set of cifar10, cifar100, stl10"},
		{[]string{"train", "cmc", "stray"}, 2, "takes no argument"},
		{append(train, "--data_folder", data, "--nce_t", "0"), 2, "--nce_t 0"},
		{append(train, "--data_folder", data, "--nce-k", "0"), 2, "--nce_k 0"},
		{append(train, "--data_folder", data, "--decoder", "magic"), 2, "auto, turbo, go"},
		{append(train, "--data_folder", data, "--epochs", "many"), 2, "many"},
		{train, 2, "--data_folder is missing"},
		{append(train, "--data_folder", filepath.Join(dir, "no")), 1, "no such folder"},
		{append(train, "--data_folder", empty), 1, "holds no image"},
		{append(train, "--data_folder", data, "--batch_size", "99"), 1, "larger than the data set"},
		{append(train, "--data_folder", data, "--view", "XXX"), 2, "no colour space"},
		{append(train, "--data_folder", data, "--model", "resnet7"), 2, `no model "resnet7"`},
		{append(train, "--data_folder", data, "--model_path", file), 1, "not a directory"},
		{append(train, "--data_folder", data, "--resume", filepath.Join(dir, "gone")), 1, "gone: file does not exist: expected a run folder"},
		{append(train, "--data_folder", one, "--max_steps", "1", "--run_name", "one", "--quiet"), 0, ""},
		{[]string{"knn", "--model_path", filepath.Join(dir, "runs", "one"), "--data_folder", one}, 1, "only one class: judging needs at least two"},
		{[]string{"compare", filepath.Join(dir, "runs", "one"), filepath.Join(dir, "runs", "one"), "--out", dir}, 1, dir + " is a folder, want a file"},
		{[]string{"compare", "a", "b", "--out="}, 2, "--out is missing"},
		{[]string{"report", filepath.Join(dir, "runs", "one"), "--out", dir}, 1, dir + " is a folder, want a file"},
		{[]string{"knn"}, 2, "--model_path and --data_folder"},
		{[]string{"knn", "--model_path", dir, "--data_folder", data}, 1, "--model_path"},
		{[]string{"data", "synth"}, 2, "--out is missing"},
		{[]string{"data", "synth", "--out", data}, 1, "not empty"},
	} {
		code, _, text := command(t, c.args...)
		var lines []string
		for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
			if !strings.Contains(l, " WRN ") {
				lines = append(lines, l)
			}
		}
		if code != c.code || len(lines) != 1 || !strings.Contains(lines[0], c.want) || strings.Contains(text, "panic") {
			t.Errorf("%v: exit %d, want %d with %q:\n%s", c.args, code, c.code, c.want, text)
		}
	}
}

// A run from the command line, scored by kNN: what a newcomer does.
func TestTrainAndScore(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if code, _, text := command(t, "data", "synth", "--out", data, "--classes", "2", "--per_class", "6", "--val_per_class", "2", "--size", "32"); code != 0 {
		t.Fatal(text)
	}
	code, _, text := command(t, "train", "cmc", "--data-folder", data, "--model", "resnets18v1", "--image-size", "32", "--nce-k", "4", "--batch-size", "4",
		"--max_steps", "4", "--tb_path=", "--dataset", "imagenet100", "--model_path", dir, "--run_name", "run", "--beta1", "0.5", "--num_workers", "2", "--trace", filepath.Join(dir, "trace.json"))
	if code != 0 || !strings.Contains(text, "--beta1 has no effect") {
		t.Fatalf("exit %d: %s", code, text)
	}
	for name, want := range map[string]string{"trace.json": `"forward l"`, "run/run.json": `"value": "resnet18v1"`} { // the model's name, not its other spelling
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, %q is missing", name, err, want)
		}
	}
	code, out, text := command(t, "knn", "--model_path", filepath.Join(dir, "run"), "--data_folder", data, "--json")
	var s map[string]float64
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, text)
	}
	if s["val_images"] != 4 || s["train_images"] != 12 {
		t.Errorf("%v", s)
	}
	if _, ok := s["knn_untrained"]; !ok {
		t.Errorf("no baseline in %v", s)
	}
}

// A state goes through other formats and comes back; diff and inspect say what is in them.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if code, _, text := command(t, "data", "synth", "--out", data, "--classes", "2", "--per_class", "6", "--val_per_class", "2", "--size", "32"); code != 0 {
		t.Fatal(text)
	}
	train := []string{"train", "cmc", "--data_folder", data, "--model", "resnet18v1", "--image_size", "32", "--nce_k", "4", "--batch_size", "6",
		"--tb_path=", "--dataset", "imagenet100", "--model_path", dir, "--quiet"}
	for run, steps := range map[string]string{"a": "2", "b": "4"} {
		if code, _, text := command(t, append(train, "--run_name", run, "--max_steps", steps)...); code != 0 {
			t.Fatal(text)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	if code, _, text := command(t, "convert", at("a"), at("a.pth")); code != 0 {
		t.Fatal(text)
	}
	if code, _, text := command(t, "convert", at("a.pth"), at("a.npz")); code != 0 {
		t.Fatal(text)
	}
	if code, out, _ := command(t, "diff", at("a"), at("a")); code != 0 || out != "identical\n" {
		t.Errorf("a state and itself: exit %d, %q", code, out)
	}
	if code, out, _ := command(t, "diff", at("a"), at("b")); code != 1 || !strings.Contains(out, "step 2") {
		t.Errorf("two states: exit %d, %q", code, out)
	}
	for _, f := range []string{"a", "a.pth", "a.npz"} {
		if code, out, text := command(t, "inspect", at(f)); code != 0 || !strings.Contains(out, "encoder.module.l_to_ab.conv1.weight") {
			t.Errorf("%s: exit %d, %q %s", f, code, out, text)
		}
	}
	// One epoch is two steps: the .pth goes on after the first and ends where the straight run does.
	if code, _, text := command(t, append(train, "--run_name", "c", "--max_steps", "4", "--resume", at("a.pth"))...); code != 0 {
		t.Fatal(text)
	}
	if code, out, _ := command(t, "diff", at("b"), at("c")); code != 0 {
		t.Errorf("resumed through a .pth: %s", out)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"train"}, {"train", "cmc", "--help"}, {"train", "moco", "--help"}, {"demo", "--help"}, {"models"}, {"data"}, {"help"}, {"help", "train", "cmc"}} {
		code, out, text := command(t, args...)
		if code != 0 || len(out)+len(text) < 100 {
			t.Errorf("%v: exit %d, %q %q", args, code, out, text)
		}
	}
	_, out, text := command(t, "train", "cmc", "--help")
	for _, want := range []string{"Contrast:", "--nce_k", "16384", "(reference)"} {
		if !strings.Contains(out+text, want) {
			t.Errorf("the help lacks %q", want)
		}
	}
}

// What cannot be printed is an error, and not exit code 0, whatever the command. A run's status lines are no result.
func TestUnprinted(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	data, model := at("data"), at("run")
	train := []string{"train", "cmc", "--data_folder", data, "--model", "resnet18v1", "--image_size", "32", "--nce_k", "4", "--batch_size", "4", "--max_steps", "1", "--print_freq", "1",
		"--tb_path=", "--dataset", "imagenet100", "--model_path", dir, "--run_name"}
	for _, args := range [][]string{
		{"data", "synth", "--out", data, "--classes", "2", "--per_class", "4", "--val_per_class", "2", "--size", "32"},
		append(train, "run"),
	} {
		if code, _, text := command(t, args...); code != 0 {
			t.Fatal(text)
		}
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	unprinted := func(args ...string) (code int, text string) {
		out := os.Stdout
		defer func() { os.Stdout = out }()
		os.Stdout = full
		return failing(t, args...)
	}
	for _, args := range [][]string{
		{"--help"},
		{"presets"},
		{"presets", "demo"},
		{"diff", model, model},
		{"knn", "--model_path", model, "--data_folder", data},
		{"compare", model, model, "--out", at("c.html")},
		{"data", "stats", "--data_folder", data},
		{"data", "verify", "--data_folder", data},
	} {
		if code, text := unprinted(args...); code != 1 || !strings.Contains(text, "no space left") {
			t.Errorf("%v: exit %d: %s", args, code, text)
		}
	}
	if code, text := unprinted(append(train, "other")...); code != 0 {
		t.Errorf("train: exit %d: %s", code, text)
	}
}

// The status line has no rank before the first of a resumed run.
func TestHealthLine(t *testing.T) {
	for want, embedding := range map[string]map[string]float64{
		"":                                  nil,
		"spread 0.50  ":                     {"l_std": 0.5},
		"spread 0.05 rank 2 (collapsing)  ": {"l_std": 0.05, "ab_std": 1, "l_rank": 3, "ab_rank": 2},
	} {
		if got := (&progress{embedding: embedding}).health(); got != want {
			t.Errorf("%v: %q, want %q", embedding, got, want)
		}
	}
}

// A finished run and a finished probe say so in a line when they are started again, unless something behind the last step is missing.
func TestFinishedAgain(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if code, _, text := command(t, "data", "synth", "--out", data, "--classes", "2", "--per_class", "6", "--val_per_class", "2", "--size", "32"); code != 0 {
		t.Fatal(text)
	}
	for _, args := range [][]string{
		{"train", "cmc", "--data_folder", data, "--model", "resnet18v1", "--image_size", "32", "--nce_k", "4", "--batch_size", "6", "--tb_path=", "--dataset", "imagenet100",
			"--model_path", dir, "--run_name", "run", "--max_steps", "1", "--resume", "auto"},
		{"probe", "--model_path", filepath.Join(dir, "run"), "--data_folder", data, "--save_path", dir, "--tb_path=", "--run_name", "probe", "--max_steps", "1", "--resume", "auto", "--json"},
	} {
		_, first, _ := command(t, args...)
		code, out, text := command(t, args...)
		if code != 0 || !strings.Contains(text, "nothing left to do") || !strings.Contains(text, "ended at step 1") || strings.Contains(first, "top1") != strings.Contains(out, "top1") {
			t.Errorf("%s: exit %d, %q, %s", args[0], code, out, text)
		}
	}
	// What a signal cut off behind the last step is made up for, once; an image that cannot be read is named as while training.
	bad, err := filepath.Glob(filepath.Join(data, "val", "01_ring", "*0.jpg"))
	if err != nil || len(bad) != 1 {
		t.Fatal(bad, err)
	}
	if err := os.WriteFile(bad[0], []byte("no picture"), 0o644); err != nil {
		t.Fatal(err)
	}
	again := []string{"train", "cmc", "--data_folder", data, "--model", "resnet18v1", "--image_size", "32", "--nce_k", "4", "--batch_size", "6", "--tb_path=", "--dataset", "imagenet100",
		"--model_path", dir, "--run_name", "run", "--max_steps", "1", "--resume", "auto", "--knn_every", "1", "--report"}
	for _, want := range []string{"kNN top-1", "nothing left to do"} {
		code, _, text := command(t, again...)
		if code != 0 || !strings.Contains(text, want) || strings.Contains(text, "report.html") != (want == "kNN top-1") || strings.Contains(text, "instead=nothing") != (want == "kNN top-1") {
			t.Errorf("exit %d, want %q: %s", code, want, text)
		}
		if scores, err := os.ReadFile(filepath.Join(dir, "run", "knn.jsonl")); err != nil || strings.Count(string(scores), "\n") != 1 {
			t.Errorf("knn.jsonl: %q, %v", scores, err)
		}
	}
}
