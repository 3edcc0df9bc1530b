package flows_test

import (
	"os"
	"path/filepath"
	"testing"
)

// Cached features are those of the files that are there: other pictures under the same names, in a folder, in shards, in parquet files
// or beside the images, are embedded afresh, and the same ones are not.
func TestCacheOfOtherPictures(t *testing.T) {
	t.Parallel()
	data, dir := encoderRun(t, "insdis")
	o := many(t, "full", scenes(t))
	o.Run.MaxSteps, o.Run.Name = 1, "four"
	run(t, o)
	four := filepath.Join(o.Run.ModelPath, "four")
	for name, c := range map[string]struct{ encoder, data, changed string }{
		"folder":  {dir, data, "train/*/00000.jpg"},
		"shards":  {dir, packed(t, data, nil), "train-000000.tar"},
		"parquet": {dir, asParquet(t, data), "train-00000-of-00001.parquet"},
		"beside":  {four, o.Data.Folder, "depth/train/*/00000.png"},
	} {
		p := smallProbe(t, c.data, c.encoder)
		p.Augment, p.Cache, p.MaxSteps = false, true, 1
		computed := func(name string) int {
			p.Name = name
			probe(t, p)
			files, err := filepath.Glob(filepath.Join(p.SavePath, "features", "train-*"))
			if err != nil {
				t.Fatal(err)
			}
			return len(files)
		}
		first := computed("first")
		if again := computed("again"); first != 1 || again != 1 {
			t.Errorf("%s: the same pictures have %d files of features, then %d", name, first, again)
		}
		later(t, filepath.Join(c.data, filepath.FromSlash(c.changed)))
		if changed := computed("changed"); changed != 2 {
			t.Errorf("%s: other pictures have the features of those before", name)
		}
	}
}

// later gives files another time, as writing others in their place does.
func later(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		at := info.ModTime().Add(1e9)
		if err := os.Chtimes(f, at, at); err != nil {
			t.Fatal(err)
		}
	}
}
