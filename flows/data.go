package flows

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/contraflow/contraflow/io/cifar"
	"github.com/contraflow/contraflow/io/imagefolder"
	"github.com/contraflow/contraflow/io/parquet"
	"github.com/contraflow/contraflow/io/shard"
	"github.com/contraflow/contraflow/io/stl10"
	"github.com/contraflow/contraflow/stages"
)

// openData opens one half of a data set, "train" or "val", whatever it is stored as: --data_folder decides. To train, which
// looks at no label, --split may name other images, and one class is enough; to judge, images need classes.
func openData(o Options, half string, judge bool) (stages.Dataset, error) {
	if o.Data.Folder == "" {
		return nil, errors.New("--data_folder is missing: give the folder that holds train/<class>/<images>")
	}
	only, err := imagefolder.ClassList(o.Data.ClassList)
	if err != nil {
		return nil, fmt.Errorf("--class_list: %w", err)
	}
	where := whereIs(o.Data.Folder, half)
	if half == "val" && where == o.Data.Folder && (shard.Named(where) || strings.HasSuffix(where, ".parquet")) {
		return nil, fmt.Errorf("--data_folder %s names the training files alone: give TRAIN,VAL, with a comma between them", where)
	}
	splits := []string{half}
	if half == "train" && !judge && o.Data.Split != "" {
		splits = strings.Split(o.Data.Split, "+")
	}
	var parts []stages.Dataset
	for _, split := range splits {
		d, err := openSplit(where, split, only)
		if err != nil && (judge || !errors.Is(err, imagefolder.ErrOneClass)) {
			if split != half {
				return nil, fmt.Errorf("--split %s of --data_folder: %w", o.Data.Split, err)
			}
			if errors.Is(err, imagefolder.ErrOneClass) {
				err = fmt.Errorf("%w: judging needs at least two", err)
			}
			return nil, fmt.Errorf("--data_folder: %w", err)
		}
		parts = append(parts, d)
	}
	data := stages.Concat(parts...)
	if len(only) > 0 {
		if data, err = stages.Only(data, only); err != nil {
			return nil, fmt.Errorf("--class_list %s: %w", o.Data.ClassList, err)
		}
	}
	if judge {
		return data, judgeable(data, o.Data.Folder, half)
	}
	return data, nil
}

// judgeable refuses images that no accuracy can be measured on.
func judgeable(d stages.Dataset, folder, half string) error {
	if len(d.Classes()) < 2 {
		return fmt.Errorf("--data_folder %s: the images of %s have %s: judging needs at least two", folder, half, counted(len(d.Classes()), "class"))
	}
	for i := range d.Len() {
		if d.Label(i) < 0 {
			return fmt.Errorf("--data_folder %s: %s has no class: judging needs labels", folder, d.Name(i))
		}
	}
	return nil
}

// whereIs is the place of one half: "TRAIN,VAL" names two, everything else holds both. Commas in {…} part names of shards.
func whereIs(folder, half string) string {
	if _, err := os.Stat(folder); err == nil {
		return folder
	}
	depth := 0
	for at, c := range folder {
		switch c {
		case '{':
			depth++
		case '}':
			depth--
		case ',':
			if depth > 0 {
				continue
			}
			if half == "val" {
				return folder[at+1:]
			}
			return folder[:at]
		}
	}
	return folder
}

// openSplit finds out what lies at a place, and opens one split of it. Classes that are not asked for are left out by
// folders at once, and by Only otherwise.
func openSplit(where, split string, only []string) (stages.Dataset, error) {
	test := split
	if split == "val" { // what the binary sets call it
		test = "test"
	}
	if dir, ok := stl10.Find(where); ok {
		return opened(stl10.Open(dir, test))
	}
	if dir, kind, ok := cifar.Find(where); ok {
		return opened(cifar.Open(dir, kind, test))
	}
	if shard.Named(where) || shard.Remote(where) {
		return opened(shard.Open(context.Background(), where, split))
	}
	if s, err := shard.Open(context.Background(), where, split); !errors.Is(err, shard.ErrNone) {
		return opened(s, err)
	}
	if s, err := parquet.Open(context.Background(), where, split); !errors.Is(err, parquet.ErrNone) {
		return opened(s, err)
	}
	dir := filepath.Join(where, split)
	if info, err := os.Stat(where); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is a file, want a folder: docs/data.md lists what may lie in it", where)
	}
	f, err := imagefolder.Open(dir, only)
	if f == nil {
		return nil, err
	}
	return f, err
}

// opened keeps a nil pointer from becoming a data set.
func opened[D stages.Dataset](d D, err error) (stages.Dataset, error) {
	if err != nil {
		return nil, err
	}
	return d, nil
}
