package stl10

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Side is the width and height of every image in pixels.
const Side = 96

const (
	plane  = Side * Side
	stored = 3 * plane
)

// Splits are the values that Open takes. The unlabeled images have no class: their label is -1.
var Splits = []string{"train", "test", "unlabeled", "train+unlabeled"}

// classNames are the official ones, for a folder without class_names.txt.
var classNames = []string{"airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"}

// Set is one split of the data set. It is safe for concurrent use.
type Set struct {
	classes []string
	parts   []part
	n       int
}

// part is one file of images.
type part struct {
	path   string
	start  int    // index of its first image in the set
	labels []byte // from 1; nil when there are none
}

// Find looks for the files in dir, or in dir/stl10_binary as the archive has them.
func Find(dir string) (string, bool) {
	for _, d := range []string{dir, filepath.Join(dir, "stl10_binary")} {
		for _, f := range []string{"train_X.bin", "unlabeled_X.bin", "test_X.bin"} {
			if info, err := os.Stat(filepath.Join(d, f)); err == nil && info.Mode().IsRegular() {
				return d, true
			}
		}
	}
	return "", false
}

// Open checks the files of one split in dir: whole images, one label each.
func Open(dir, split string) (*Set, error) {
	s := &Set{classes: classNames}
	if text, err := os.ReadFile(filepath.Join(dir, "class_names.txt")); err == nil {
		names := strings.Fields(string(text))
		if len(names) != len(classNames) {
			return nil, fmt.Errorf("%s: %d class names, want %d", filepath.Join(dir, "class_names.txt"), len(names), len(classNames))
		}
		s.classes = names
	}
	files, ok := map[string][]string{
		"train": {"train"}, "test": {"test"}, "unlabeled": {"unlabeled"}, "train+unlabeled": {"train", "unlabeled"},
	}[split]
	if !ok {
		return nil, fmt.Errorf("STL-10 has no split %q: choose one of %s", split, strings.Join(Splits, ", "))
	}
	for _, f := range files {
		if err := s.add(dir, f); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Set) add(dir, name string) error {
	p := part{path: filepath.Join(dir, name+"_X.bin"), start: s.n}
	info, err := os.Stat(p.path)
	if err != nil {
		return err
	}
	size := info.Size()
	if size == 0 || size%stored != 0 {
		return fmt.Errorf("%s: %d bytes are not a whole number of images of %d bytes: truncated, or not STL-10", p.path, size, stored)
	}
	n := int(size / stored)
	if name != "unlabeled" {
		y := filepath.Join(dir, name+"_y.bin")
		if p.labels, err = os.ReadFile(y); err != nil {
			return err
		}
		if len(p.labels) != n {
			return fmt.Errorf("%s: %d labels for the %d images of %s", y, len(p.labels), n, p.path)
		}
		for i, l := range p.labels {
			if l < 1 || int(l) > len(s.classes) {
				return fmt.Errorf("%s: label %d of image %d: labels run from 1 to %d", y, l, i, len(s.classes))
			}
		}
	}
	s.parts = append(s.parts, p)
	s.n += n
	return nil
}

// Format says how the images are stored.
func (s *Set) Format() string { return "STL-10" }

// Len is the number of images.
func (s *Set) Len() int { return s.n }

// Classes are the ten class names.
func (s *Set) Classes() []string { return s.classes }

func (s *Set) part(i int) *part {
	k := len(s.parts) - 1
	for s.parts[k].start > i {
		k--
	}
	return &s.parts[k]
}

// Label is the class of image i, or -1 for an unlabeled one.
func (s *Set) Label(i int) int {
	p := s.part(i)
	if p.labels == nil {
		return -1
	}
	return int(p.labels[i-p.start]) - 1
}

// Name is the file and the number of image i in it.
func (s *Set) Name(i int) string {
	p := s.part(i)
	return fmt.Sprintf("%s:%d", p.path, i-p.start)
}

// Read returns image i as a binary PPM, in buf when it fits. The files hold planes of columns; a PPM holds rows of pixels.
func (s *Set) Read(_ context.Context, i int, buf []byte) ([]byte, error) {
	p := s.part(i)
	f, err := os.Open(p.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var raw [stored]byte
	if _, err := f.ReadAt(raw[:], int64(i-p.start)*stored); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s is shorter than when it was opened", p.path)
		}
		return nil, err
	}
	return appendPPM(buf[:0], &raw), nil
}

func appendPPM(buf []byte, raw *[stored]byte) []byte {
	buf = fmt.Appendf(buf, "P6\n%d %d\n255\n", Side, Side)
	at := len(buf)
	buf = slices.Grow(buf, stored)[:at+stored]
	pix := buf[at:]
	for c := range 3 {
		for x := range Side {
			column := raw[c*plane+x*Side:][:Side]
			for y, v := range column {
				pix[(y*Side+x)*3+c] = v
			}
		}
	}
	return buf
}
