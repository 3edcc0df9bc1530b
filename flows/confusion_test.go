package flows

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// A result.json has the whole matrix of ImageNet's classes; of species, of which there are ten thousand, it would have 900 MB of
// zeros. A folder with such a file can still be read.
func TestConfusionOfManyClasses(t *testing.T) {
	path := filepath.Join(t.TempDir(), resultFile)
	written := func(classes int) (text []byte) {
		c := confusion([]probeGuess{{0, 1}, {classes - 1, 0}, {0, 1}}, classes)
		if err := writeJSON(path, probeRecord{Confusion: c}); err != nil {
			t.Fatal(err)
		}
		var back probeRecord
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &back)
		}
		if err != nil || !reflect.DeepEqual(back.Confusion, c) {
			t.Errorf("%d classes: what was read back differs from what was written (%v)", classes, err)
		}
		return text
	}
	if text := strings.Join(strings.Fields(string(written(3))), ""); !strings.Contains(text, `"confusion":[[0,2,0],[0,0,0],[1,0,0]]`) {
		t.Errorf("three classes are written as %s", text)
	}
	if n := len(written(2000)); n > 1<<20 {
		t.Errorf("two thousand classes and three images take %d bytes", n)
	}
}
