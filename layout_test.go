package contraflow_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "github.com/contraflow/contraflow"

// layer is the place of a package in the picture of ARCHITECTURE.md.
func layer(path string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
	first, _, _ := strings.Cut(rest, "/")
	switch {
	case rest == "":
		return "root"
	case first == "io":
		format, _, _ := strings.Cut(strings.TrimPrefix(rest, "io/"), "/")
		return "io/" + format
	}
	return first
}

// may says whether a package of one layer may import one of another, and why not.
func may(from, to string) (bool, string) {
	base := func(l string) bool { return l == "root" || l == "ops" }
	switch {
	case from == to, from == "cmd", from == "examples":
		return true, ""
	case from == "root":
		return false, "the graph knows nothing of what flows through it"
	case from == "ops":
		return false, "ops imports nothing of ours: kernels and descriptions stand alone"
	case from == "flows":
		return to != "cmd", "recipes do not know the command line"
	case strings.HasPrefix(from, "io/") && strings.HasPrefix(to, "io/"):
		return to == "io/raw" || to == "io/safetensors", "formats stand alone, but for the raw tensors they share and the file that checkpoints are made of"
	case base(to):
		return true, ""
	}
	return false, "siblings do not import each other: say what is needed as an interface and let flows join them"
}

func TestLayout(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Doc", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for {
		var p struct {
			ImportPath, Doc string
			Imports         []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		if p.Doc == "" {
			t.Errorf("%s has no package comment: say in one sentence what it is for", p.ImportPath)
		}
		for _, i := range p.Imports {
			if !strings.HasPrefix(i, module) {
				continue
			}
			if ok, why := may(layer(p.ImportPath), layer(i)); !ok {
				t.Errorf("%s imports %s: %s", p.ImportPath, i, why)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d packages were looked at", seen)
	}
}

// TestDependencies holds ARCHITECTURE.md to its word: what go.mod asks for directly has its reason there.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, reasons, found := strings.Cut(string(text), "\nDependencies ")
	if !found {
		t.Fatal("ARCHITECTURE.md has no paragraph on dependencies")
	}
	for _, r := range mod.Require {
		parent, name := path.Split(strings.TrimSuffix(strings.TrimSuffix(r.Path, "/v2"), "/v3"))
		if parent == "golang.org/x/" || parent == "github.com/klauspost/" {
			name = path.Base(parent) + "/" + name
		}
		if !r.Indirect && !strings.Contains(reasons, name) {
			t.Errorf("go.mod requires %s, and ARCHITECTURE.md does not say what for", r.Path)
		}
	}
}
