package flows

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/png" // what views beside images are
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/stages"
)

// Beside is one of --view_dirs, as far as encoders depend on it: kept with a checkpoint, so that it is judged on other data.
type Beside struct {
	Name     string
	Dir      string  // in the data folder unless absolute; holds train/<class>/<name>.png
	Channels int     // of its files: 1 or 3
	Top      float64 // share of the files' full range that becomes 1
}

// besideOf resolves --view_dirs: names of folders in the data folder, or paths, each with the top of its range behind a
// colon. Channels and depth are those of the first file, unless the options know them.
func besideOf(o Options) (out []Beside, err error) {
	if o.Data.ViewDirs == "" || len(o.Data.Beside) > 0 {
		return o.Data.Beside, nil
	}
	for _, part := range strings.Split(o.Data.ViewDirs, ",") {
		dir, most, given := strings.Cut(strings.TrimSpace(part), ":")
		b := Beside{Name: filepath.Base(dir), Dir: dir, Top: 1}
		if dir == "" || b.Name == "train" || b.Name == "val" {
			return nil, fmt.Errorf("--view_dirs %q: want folders beside train and val, separated by commas, such as depth,normals", o.Data.ViewDirs)
		}
		bits, err := b.look(o.Data.Folder)
		if err != nil {
			return nil, fmt.Errorf("--view_dirs %s: %w", dir, err)
		}
		if given {
			v, err := strconv.ParseFloat(most, 64)
			full := float64(int(1)<<bits - 1)
			if err != nil || !(v > 0 && v <= full) {
				return nil, fmt.Errorf("--view_dirs %q: the top of a range is a value of its files, above 0 and at most %v", part, full)
			}
			b.Top = v / full
		}
		out = append(out, b)
	}
	return out, nil
}

// in is the view's folder for a data folder.
func (b *Beside) in(folder string) string {
	if filepath.IsAbs(b.Dir) {
		return b.Dir
	}
	return filepath.Join(folder, b.Dir)
}

// look takes channels and depth from the first file that can be read: the others count among the bad samples.
func (b *Beside) look(folder string) (bits int, err error) {
	dir, found := b.in(folder), errors.New("found")
	var broken error
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.EqualFold(filepath.Ext(path), ".png") {
			return err
		}
		c, err := header(path)
		if err != nil {
			broken = cmp.Or(broken, err)
			return nil
		}
		b.Channels, bits = jpeg.PlanesOf(c.ColorModel), jpeg.BitsOf(c.ColorModel)
		return found
	})
	switch {
	case errors.Is(err, found):
		return bits, nil
	case errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("%s: there is no such folder: views lie in <data_folder>/%s/train/<class>/<name>.png", dir, b.Name)
	case err != nil:
		return 0, err
	case broken != nil:
		return 0, fmt.Errorf("no .png file in %s can be read: %w", dir, broken)
	}
	return 0, fmt.Errorf("%s holds no .png file: want %s", dir, filepath.Join(dir, "train", "<class>", "<name>.png"))
}

// header reads the size and colours of an image file.
func header(path string) (image.Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return image.Config{}, err
	}
	defer f.Close()
	c, _, err := image.DecodeConfig(f)
	if err != nil {
		err = fmt.Errorf("%s: broken header: %w", path, err)
	}
	return c, err
}

// besideFiles finds the files of views beside the images of one half of a data set, and checks some of them: a folder
// that has none of its images, or images of another size, is refused before anything is trained.
func besideFiles(views []Beside, data stages.Dataset) (out []stages.Beside, err error) {
	if len(views) == 0 {
		return nil, nil
	}
	folder, ok := data.(interface{ Dir() string })
	if !ok {
		return nil, errors.New("--view_dirs: views lie beside the images of a folder, and this data set is not one")
	}
	for _, v := range views {
		f := besideFolder{data: data, from: folder.Dir(), to: filepath.Join(v.in(filepath.Dir(folder.Dir())), filepath.Base(folder.Dir()))}
		if err := f.check(); err != nil {
			return nil, fmt.Errorf("--view_dirs %s: %w", v.Name, err)
		}
		out = append(out, stages.Beside{Name: v.Name, Channels: v.Channels, Top: v.Top, Files: f})
	}
	return out, nil
}

// besideFolder is one view of one half of a data set: from/class/name.jpg has to/class/name.png.
type besideFolder struct {
	data     stages.Dataset
	from, to string
}

// Path implements stages.BesideFiles.
func (f besideFolder) Path(i int) string {
	rest := strings.TrimPrefix(f.data.Name(i), f.from)
	return filepath.Join(f.to, strings.TrimSuffix(rest, filepath.Ext(rest))+".png")
}

// Read implements stages.BesideFiles.
func (f besideFolder) Read(_ context.Context, i int) ([]byte, error) {
	data, err := os.ReadFile(f.Path(i))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// besideChecked is how many files are looked at before a run starts, evenly spread.
const besideChecked = 64

// check compares the sizes of some files with those of their images.
func (f besideFolder) check() error {
	if _, err := os.Stat(f.to); err != nil {
		return fmt.Errorf("%s: there is no such folder, and %s has images", f.to, f.from)
	}
	seen := 0
	for _, i := range spread(f.data.Len(), besideChecked) {
		side, err := header(f.Path(i))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		seen++
		if err != nil {
			continue // an unreadable file is counted among the bad samples
		}
		if img, err := header(f.data.Name(i)); err == nil && (img.Width != side.Width || img.Height != side.Height) {
			return fmt.Errorf("%s is %d×%d pixels, its image %s %d×%d: a view has the size of its image", f.Path(i), side.Width, side.Height, f.data.Name(i), img.Width, img.Height)
		}
	}
	if seen == 0 {
		return fmt.Errorf("none of %d images looked at has a file, such as %s", min(f.data.Len(), besideChecked), f.Path(0))
	}
	return nil
}
