package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// profile runs a flow, writes a trace and drawings, and leaves no run folder behind; mistakes are found before it runs.
func TestProfile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", filepath.Join(dir, "tmp"))
	at := func(name string) string { return filepath.Join(dir, name) }
	if code, _, text := command(t, "data", "synth", "--out", at("data"), "--classes", "2", "--per_class", "6", "--val_per_class", "2", "--size", "32"); code != 0 {
		t.Fatal(text)
	}
	args := []string{"profile", "cmc", "--data_folder", at("data"), "--model", "resnet18v1", "--image_size", "32", "--nce_k", "4", "--batch_size", "4", "--dataset", "imagenet100",
		"--quiet", "--graph", "core", "--seconds", "0.5", "--trace", at("trace.json"), "--graph"}
	code, out, text := command(t, append(args, at("flow.svg"), "--json", "--autotune", "--cpu_budget", "1")...)
	if code != 0 || text != "" {
		t.Fatalf("exit %d: %s", code, text)
	}
	var p struct {
		Method, Verdict string
		Flow            struct {
			ImagesPerS float64 `json:"images_per_s"`
		}
	}
	if err := json.Unmarshal([]byte(out), &p); err != nil || p.Method != "cmc" || !strings.Contains(p.Verdict, "limit") || p.Flow.ImagesPerS <= 0 {
		t.Errorf("%v: %s", err, out)
	}
	if code, out, text = command(t, append(args, at("flow.dot"))...); code != 0 || !strings.Contains(out, "headspace:") {
		t.Errorf("exit %d: %s%s", code, out, text)
	}
	for name, want := range map[string]string{"trace.json": `"forward l"`, "flow.svg": "</svg>", "flow.dot": `"update" -> "encode"`} {
		if text, err := os.ReadFile(at(name)); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, %q is missing", name, err, want)
		}
	}
	if left, err := os.ReadDir(at("tmp")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	for want, bad := range map[string][]string{
		".svg or .dot":     {"--graph", "flow.png"},
		"must be positive": {"--seconds", "0"},
		"in (0,1]":         {"--cpu_budget", "2"},
		"--watchdog":       {"--watchdog", "-1"},
	} {
		if code, _, text := command(t, append(args[:len(args)-1:len(args)-1], bad...)...); code != exitUsage || !strings.Contains(text, want) {
			t.Errorf("%v: exit %d, %q", bad, code, text)
		}
	}
	if code, _, text := command(t, append(args, at("flow.svg"), "--trace", at("nowhere/trace.json"))...); code != exitError || !strings.Contains(text, "--trace") {
		t.Errorf("a folder that is not there: exit %d, %q", code, text)
	}
}
