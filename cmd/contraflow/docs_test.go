package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The recipe of the documents is one: with it only the data are missing.
func TestDocumentedPreset(t *testing.T) {
	text, err := os.ReadFile("../../docs/runs.md")
	if err != nil {
		t.Fatal(err)
	}
	recipe := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(text)
	if recipe == nil {
		t.Fatal("docs/runs.md has no recipe")
	}
	file := filepath.Join(t.TempDir(), "recipe.yaml")
	if err := os.WriteFile(file, recipe[1], 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, text := command(t, "train", "cmc", "--preset", file); code != 2 || !strings.Contains(text, "--data_folder is missing") {
		t.Errorf("exit %d: %s", code, text)
	}
	if code, out, text := command(t, "presets", file); code != 0 || !strings.Contains(out, "--lr_decay_epochs=60,80 --tb_path=\n") {
		t.Errorf("exit %d: %s%s", code, out, text)
	}
}

// Every command of the documents names a command that exists and flags that it has.
func TestDocumentedCommands(t *testing.T) {
	found := 0
	for _, file := range []string{"../../README.md", "../../docs/reference.md", "../../docs/views.md", "../../docs/studies.md", "../../docs/judging.md", "../../docs/runs.md",
		"../../docs/data.md", "../../docs/images.md", "../../docs/graph.md", "../../docs/cuda.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?m)(?:`|^|\\./)contraflow ([^`\n#|]+)").FindAllStringSubmatch(string(text), -1) {
			args := strings.Fields(m[1])
			if len(args) == 0 || !regexp.MustCompile(`^[a-z]+$`).MatchString(args[0]) || args[0] == "is" {
				continue
			}
			cmd, rest, err := newRoot().Find(args)
			if err != nil || !cmd.HasParent() {
				t.Errorf("%s: contraflow %s: there is no such command", file, m[1])
				continue
			}
			found++
			for _, a := range rest {
				if name, ok := strings.CutPrefix(a, "--"); ok && name != "help" {
					name, _, _ = strings.Cut(name, "=")
					if cmd.Flags().Lookup(name) == nil {
						t.Errorf("%s: contraflow %s: no flag --%s", file, m[1], name)
					}
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d commands were found", found)
	}
}
