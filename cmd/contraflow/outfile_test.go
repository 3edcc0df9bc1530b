package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A command that fails leaves no empty trace or drawing behind, and an earlier one as it was.
func TestNothingLeftBehind(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old.json")
	if err := os.WriteFile(old, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	nowhere := filepath.Join(dir, "nowhere")
	for _, args := range [][]string{
		{"train", "cmc", "--trace", filepath.Join(dir, "new.json")},
		{"train", "cmc", "--trace", old},
		{"profile", "cmc", "--trace", filepath.Join(dir, "new.json"), "--graph", filepath.Join(dir, "new.svg")},
		{"bench", "decode", "--cpuprofile", filepath.Join(dir, "new.pprof")},
	} {
		if code, _, text := command(t, append(args, "--data_folder", nowhere)...); code != exitError || !strings.Contains(text, "no such folder") {
			t.Errorf("%v: exit %d: %s", args, code, text)
		}
	}
	left, err := os.ReadDir(dir)
	text, _ := os.ReadFile(old)
	if err != nil || len(left) != 1 || string(text) != "old" {
		t.Errorf("left behind: %v, the earlier trace %q: %v", left, text, err)
	}
}

// A profile that the disk has no room for is an error, and one that cannot be made ends the command before it measures.
func TestCPUProfile(t *testing.T) {
	step := []string{"bench", "step", "--model", "resnet18v1", "--image_size", "32", "--batch", "2", "--steps", "1", "--n_data", "8", "--nce_k", "4", "--cpuprofile"}
	good := filepath.Join(t.TempDir(), "cpu.pprof")
	if code, _, text := command(t, append(step, good)...); code != 0 {
		t.Errorf("exit %d: %s", code, text)
	}
	if text, err := os.ReadFile(good); err != nil || !strings.HasPrefix(string(text), "\x1f\x8b") {
		t.Errorf("no profile: %q, %v", text, err)
	}
	bad := []string{filepath.Join(t.TempDir(), "nowhere", "cpu")}
	if _, err := os.Stat("/dev/full"); err == nil {
		bad = append(bad, "/dev/full")
	}
	for _, path := range bad {
		if code, _, text := command(t, append(step, path)...); code != exitError || !strings.Contains(text, "--cpuprofile") {
			t.Errorf("%s: exit %d: %q", path, code, text)
		}
	}
}
