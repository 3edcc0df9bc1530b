package cifar

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Side is the width and height of every image in pixels.
const Side = 32

const plane = Side * Side

// Kind tells the two data sets apart.
type Kind struct {
	Name   string   // CIFAR-10, CIFAR-100
	Folder string   // of the archive
	Train  []string // files of the training half
	Test   []string
	Names  string // file of class names
	header int    // label bytes of a record; the last is the class
	count  int    // classes
}

// The two data sets. CIFAR-100 is labelled by its 100 fine classes.
var (
	CIFAR10 = Kind{Name: "CIFAR-10", Folder: "cifar-10-batches-bin", Names: "batches.meta.txt", header: 1, count: 10,
		Train: []string{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
		Test:  []string{"test_batch.bin"}}
	CIFAR100 = Kind{Name: "CIFAR-100", Folder: "cifar-100-binary", Names: "fine_label_names.txt", header: 2, count: 100,
		Train: []string{"train.bin"}, Test: []string{"test.bin"}}
)

// record is the number of bytes of an image with its labels.
func (k Kind) record() int { return k.header + 3*plane }

// Find looks for either data set in dir, or in the folder that its archive has.
func Find(dir string) (string, Kind, bool) {
	for _, k := range []Kind{CIFAR10, CIFAR100} {
		for _, d := range []string{dir, filepath.Join(dir, k.Folder)} {
			for _, f := range []string{k.Train[0], k.Test[0]} {
				if info, err := os.Stat(filepath.Join(d, f)); err == nil && info.Mode().IsRegular() {
					return d, k, true
				}
			}
		}
	}
	return "", Kind{}, false
}

// Set is one half of a data set. It is safe for concurrent use.
type Set struct {
	kind    Kind
	classes []string
	paths   []string
	starts  []int // index of the first image of every file
	labels  []byte
}

// Open reads the labels of one half, "train" or "test", and checks that every file holds whole images.
func Open(dir string, kind Kind, half string) (*Set, error) {
	s := &Set{kind: kind}
	files := kind.Train
	switch half {
	case "train":
	case "test":
		files = kind.Test
	default:
		return nil, fmt.Errorf("%s has no split %q: choose train or test", kind.Name, half)
	}
	if err := s.readClasses(filepath.Join(dir, kind.Names)); err != nil {
		return nil, err
	}
	for _, name := range files {
		if err := s.add(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// readClasses takes the names beside the images, or numbers when there are none.
func (s *Set) readClasses(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		for c := range s.kind.count {
			s.classes = append(s.classes, fmt.Sprint(c))
		}
		return nil
	}
	if s.classes = strings.Fields(string(text)); len(s.classes) != s.kind.count {
		return fmt.Errorf("%s: %d class names, want %d", path, len(s.classes), s.kind.count)
	}
	return nil
}

func (s *Set) add(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	n, size := info.Size(), int64(s.kind.record())
	if n == 0 || n%size != 0 {
		return fmt.Errorf("%s: %d bytes are not a whole number of records of %d bytes: truncated, or not %s", path, n, size, s.kind.Name)
	}
	s.paths, s.starts = append(s.paths, path), append(s.starts, len(s.labels))
	r, record := bufio.NewReaderSize(f, 1<<18), make([]byte, size)
	for i := range n / size {
		if _, err := io.ReadFull(r, record); err != nil {
			return fmt.Errorf("%s: image %d: %w", path, i, err)
		}
		label := record[s.kind.header-1]
		if int(label) >= s.kind.count {
			return fmt.Errorf("%s: label %d of image %d: labels run from 0 to %d", path, label, i, s.kind.count-1)
		}
		s.labels = append(s.labels, label)
	}
	return nil
}

// Format says how the images are stored.
func (s *Set) Format() string { return s.kind.Name }

// Len is the number of images.
func (s *Set) Len() int { return len(s.labels) }

// Classes are the class names.
func (s *Set) Classes() []string { return s.classes }

// Label is the class of image i.
func (s *Set) Label(i int) int { return int(s.labels[i]) }

// locate finds the file of image i and its number in it.
func (s *Set) locate(i int) (file, at int) {
	file, found := slices.BinarySearch(s.starts, i)
	if !found {
		file--
	}
	return file, i - s.starts[file]
}

// Name is the file and the number of image i in it.
func (s *Set) Name(i int) string {
	file, at := s.locate(i)
	return fmt.Sprintf("%s:%d", s.paths[file], at)
}

// Read returns image i as a binary PPM, in buf when it fits.
func (s *Set) Read(_ context.Context, i int, buf []byte) ([]byte, error) {
	file, at := s.locate(i)
	f, err := os.Open(s.paths[file])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var raw [3 * plane]byte
	if _, err := f.ReadAt(raw[:], int64(at)*int64(s.kind.record())+int64(s.kind.header)); err != nil {
		return nil, fmt.Errorf("%s: image %d: %w", s.paths[file], at, err)
	}
	buf = fmt.Appendf(buf[:0], "P6\n%d %d\n255\n", Side, Side)
	for p := range plane {
		buf = append(buf, raw[p], raw[plane+p], raw[2*plane+p])
	}
	return buf, nil
}
