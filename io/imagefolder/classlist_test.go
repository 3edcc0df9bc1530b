package imagefolder_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/imagefolder"
)

func TestClassLists(t *testing.T) {
	list, err := imagefolder.ClassList("imagenet100")
	if err != nil || len(list) != 100 || list[0] != "n02869837" || list[99] != "n02090622" {
		t.Fatalf("imagenet100: %d classes, %v", len(list), err)
	}
	slices.Sort(list)
	if len(slices.Compact(list)) != 100 {
		t.Error("imagenet100 repeats a class")
	}
	for name, c := range map[string]struct{ text, want, err string }{
		"plain":    {text: "b\na\n", want: "b a"},
		"comments": {text: "# two\nn01 tench, Tinca\n\n n02 # goldfish\r\n", want: "n01 n02"},
		"twice":    {text: "a\nb\na\n", err: `line 3: class "a" is on line 1 already`},
		"empty":    {text: "\n#a\n", err: "no class name"},
	} {
		path := filepath.Join(t.TempDir(), "list.txt")
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := imagefolder.ClassList(path)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: got %v, want %q", name, err, c.err)
			}
			continue
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	if _, err := imagefolder.ClassList("imagenet1000"); err == nil || !strings.Contains(err.Error(), "imagenet100") {
		t.Errorf("an unknown list: %v", err)
	}
}

// Of several missing classes the message names the first, so that it is the same every time.
func TestMissingClass(t *testing.T) {
	dir := tree(t, "a/x.jpg", "b/x.jpg")
	for range 5 {
		_, err := imagefolder.Open(dir, []string{"a", "z", "q", "b"})
		if err == nil || !strings.Contains(err.Error(), `no folder for class "z" (2 of 4`) {
			t.Fatalf("got %v", err)
		}
	}
}
