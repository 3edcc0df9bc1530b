//go:build unix

package imagefolder_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/contraflow/contraflow/io/imagefolder"
)

// A pipe with the name of an image has no end; a link to an image is one, and so is a link to nothing, which reading names.
func TestOnlyFiles(t *testing.T) {
	dir := tree(t, "a/1.jpg", "b/1.jpg")
	if err := errors.Join(unix.Mkfifo(filepath.Join(dir, "a", "2.jpg"), 0o600),
		os.Symlink("2.jpg", filepath.Join(dir, "a", "3.jpg")), os.Symlink("1.jpg", filepath.Join(dir, "a", "4.jpg")), os.Symlink("gone", filepath.Join(dir, "a", "5.jpg"))); err != nil {
		t.Fatal(err)
	}
	f, err := imagefolder.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range f.Len() {
		names = append(names, filepath.Base(f.Name(i)))
	}
	if got := strings.Join(names, " "); got != "1.jpg 4.jpg 5.jpg 1.jpg" {
		t.Errorf("found %s", got)
	}
}
