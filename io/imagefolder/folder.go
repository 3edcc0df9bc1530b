package imagefolder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// Folder is a data set laid out as DIR/<class>/**/<image>. Classes are the sub-folders sorted by name; samples are listed
// class by class, folders sorted by their paths. It is safe for concurrent use.
type Folder struct {
	dir     string
	classes []string
	paths   []string
	labels  []int
}

// extensions are what counts as an image, in any case.
var extensions = map[string]bool{
	".jpg": true, ".jpeg": true, ".png": true, ".ppm": true, ".bmp": true, ".pgm": true, ".tif": true, ".tiff": true, ".webp": true,
}

// ErrOneClass says that there is nothing to tell apart. Training without labels may go on regardless.
var ErrOneClass = errors.New("only one class")

// Open lists the images under dir. Unless only is empty, just the classes it names are taken, and all must exist. A folder
// with one class opens with ErrOneClass beside it.
func Open(dir string, only []string) (*Folder, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missing(dir)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is a file, want a folder with one sub-folder of images a class", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	f := &Folder{dir: dir}
	wanted := map[string]bool{}
	for _, c := range only {
		wanted[c] = true
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") || len(only) > 0 && !wanted[e.Name()] {
			continue
		}
		if _, err := os.Stat(path); err != nil && e.Type()&fs.ModeSymlink != 0 { // perhaps a class
			return nil, fmt.Errorf("%s is a link that leads nowhere: mend or remove it", path)
		}
		if isDir(dir, e) {
			f.classes = append(f.classes, e.Name())
			delete(wanted, e.Name())
		}
	}
	sort.Strings(f.classes)
	for _, c := range only {
		if wanted[c] {
			return nil, fmt.Errorf("%s has no folder for class %q (%d of %d listed classes are missing)", dir, c, len(wanted), len(only))
		}
	}
	if len(f.classes) == 0 {
		return nil, fmt.Errorf("%s holds no sub-folder: want one folder of images a class", dir)
	}
	for label, class := range f.classes {
		before := len(f.paths)
		if err := f.list(filepath.Join(dir, class), label, info); err != nil {
			return nil, err
		}
		if len(f.paths) == before {
			return nil, fmt.Errorf("%s holds no image: remove the folder, or add files that end in .jpg, .jpeg, .png, .ppm, .pgm, .bmp, .tif, .tiff or .webp",
				filepath.Join(dir, class))
		}
	}
	if len(f.classes) == 1 {
		return f, fmt.Errorf("%s holds one class, %q: %w", dir, f.classes[0], ErrOneClass)
	}
	return f, nil
}

// missing is the error of a folder that is not there.
type missing string

func (m missing) Error() string {
	place := "<data_folder>/" + filepath.Base(string(m))
	if !strings.HasSuffix(place, "/train") && !strings.HasSuffix(place, "/val") {
		place = "<folder>" // a half that was named apart
	}
	return fmt.Sprintf("%s: there is no such folder: images are read from %s/<class>/", string(m), place)
}

func (m missing) Is(target error) bool { return target == fs.ErrNotExist }

// isDir follows links to folders.
func isDir(dir string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(filepath.Join(dir, e.Name()))
	return err == nil && info.IsDir()
}

// isFile says whether an entry can be read to its end, which a pipe or a socket may not have. A link that leads nowhere counts, so that
// it is named as unreadable.
func isFile(dir string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.Type().IsRegular()
	}
	info, err := os.Stat(filepath.Join(dir, e.Name()))
	return err != nil || info.Mode().IsRegular()
}

// list adds the images of a class: folders sorted by their whole paths, as torchvision sorts what os.walk gives, so that a-b comes
// before a/c, and files within. Half is the folder of the classes.
func (f *Folder) list(class string, label int, half fs.FileInfo) error {
	files := map[string][]string{}
	if err := walk(class, files, []fs.FileInfo{half}); err != nil {
		return err
	}
	for _, dir := range slices.Sorted(maps.Keys(files)) {
		for _, name := range files[dir] {
			f.paths = append(f.paths, filepath.Join(dir, name))
			f.labels = append(f.labels, label)
		}
	}
	return nil
}

// walk lists the images of a folder, sorted, and of those below. Above are the folders on the way: a link back to one of them would be
// walked without end.
func walk(dir string, files map[string][]string, above []fs.FileInfo) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	for _, a := range above {
		if os.SameFile(a, info) {
			return fmt.Errorf("%s leads back to a folder that it lies in: remove the link", dir)
		}
	}
	above = append(above, info)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch {
		case isDir(dir, e):
			if err := walk(filepath.Join(dir, e.Name()), files, above); err != nil {
				return err
			}
		case extensions[strings.ToLower(filepath.Ext(e.Name()))] && isFile(dir, e):
			files[dir] = append(files[dir], e.Name())
		}
	}
	return nil
}

// Format says how the images are stored.
func (f *Folder) Format() string { return "folder of classes" }

// Dir is the folder whose sub-folders are the classes.
func (f *Folder) Dir() string { return f.dir }

// Len is the number of images.
func (f *Folder) Len() int { return len(f.paths) }

// Classes are the class names in label order.
func (f *Folder) Classes() []string { return f.classes }

// Label is the class of image i.
func (f *Folder) Label(i int) int { return f.labels[i] }

// Name is the path of image i.
func (f *Folder) Name(i int) string { return f.paths[i] }

// maxFile bounds the bytes of one image, as in shards.
const maxFile = 1 << 30

// Read returns the bytes of image i, in buf when they fit.
func (f *Folder) Read(_ context.Context, i int, buf []byte) ([]byte, error) {
	file, err := os.Open(f.paths[i])
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("the file has %d bytes: more than the %d that are read", info.Size(), maxFile)
	}
	n := int(info.Size())
	if n == 0 {
		return nil, errors.New("the file is empty")
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(file, buf); err != nil {
		return nil, err
	}
	return buf, nil
}
