package synth

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// Options size a data set.
type Options struct {
	Classes     int    // at least 2
	PerClass    int    // training images a class
	ValPerClass int    // validation images a class
	Size        int    // side in pixels, at least 32
	Seed        uint64 // of every draw
	Quality     int    // of the JPEG files, 1–100; 0 means 92
	// Extra are further views of the scenes, in PNG files under dir/<view>/train and dir/<view>/val: "depth", "normals".
	// The images are the same with and without.
	Extra []string `json:",omitempty"`
}

// Check reports the first setting that cannot be drawn.
func (o Options) Check() error {
	switch {
	case o.Classes < 2 || o.Classes > 100:
		return fmt.Errorf("synth: %d classes: between 2 and 100 can be drawn", o.Classes)
	case o.PerClass < 1 || o.ValPerClass < 1:
		return fmt.Errorf("synth: %d training and %d validation images a class: each must be at least 1", o.PerClass, o.ValPerClass)
	case o.Size < 32 || o.Size > 4096:
		return fmt.Errorf("synth: size %d: between 32 and 4096 pixels", o.Size)
	case o.Quality < 0 || o.Quality > 100:
		return fmt.Errorf("synth: quality %d: between 1 and 100", o.Quality)
	}
	for _, v := range o.Extra {
		if _, ok := extras[v]; !ok {
			return fmt.Errorf("synth: there is no extra view %q: choose from depth, normals", v)
		}
	}
	return nil
}

// Write draws the data set into dir/train/<class>/ and dir/val/<class>/. An existing dir must be empty or absent, so
// that nothing already there is overwritten. What was drawn until an error is removed.
func Write(ctx context.Context, dir string, o Options) error {
	if err := o.Check(); err != nil {
		return err
	}
	if o.Quality == 0 {
		o.Quality = 92
	}
	entries, err := os.ReadDir(dir)
	isNew := errors.Is(err, os.ErrNotExist)
	if err != nil && !isNew {
		return fmt.Errorf("synth: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("synth: %s is not empty (%s and %d more): give an empty or new folder", dir, entries[0].Name(), len(entries)-1)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for split, n := range []int{o.PerClass, o.ValPerClass} {
		for class := range o.Classes {
			g.Go(func() error { return writeClass(ctx, dir, o, split, class, n) })
		}
	}
	if err = g.Wait(); err != nil {
		for _, below := range append([]string{"train", "val"}, o.Extra...) {
			os.RemoveAll(filepath.Join(dir, below))
		}
		if isNew {
			os.Remove(dir)
		}
	}
	return err
}

// ClassName is the folder of a class: "03_triangle".
func ClassName(class int) string {
	return fmt.Sprintf("%02d_%s", class, shapes[class%len(shapes)].name)
}

func writeClass(ctx context.Context, dir string, o Options, split, class, n int) error {
	below := filepath.Join([2]string{"train", "val"}[split], ClassName(class))
	folder := filepath.Join(dir, below)
	for _, v := range append([]string{""}, o.Extra...) {
		if err := os.MkdirAll(filepath.Join(dir, v, below), 0o755); err != nil {
			return fmt.Errorf("synth: %w", err)
		}
	}
	for i := range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		r := rand.New(rand.NewPCG(mix(o.Seed+0x9E3779B97F4A7C15), mix(uint64(split)<<56|uint64(class)<<40|uint64(i))))
		s := newScene(r, class, o.Size)
		f, err := os.Create(filepath.Join(folder, fmt.Sprintf("%05d.jpg", i)))
		if err != nil {
			return fmt.Errorf("synth: %w", err)
		}
		err = jpeg.Encode(f, s.draw(r), &jpeg.Options{Quality: o.Quality})
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("synth: %s: %w", f.Name(), err)
		}
		if len(o.Extra) == 0 {
			continue
		}
		z := s.relief(rand.New(rand.NewPCG(o.Seed, mix(uint64(split)<<56|uint64(class)<<40|uint64(i)))))
		for _, v := range o.Extra {
			if err := writePNG(filepath.Join(dir, v, below, fmt.Sprintf("%05d.png", i)), extras[v](z)); err != nil {
				return err
			}
		}
	}
	return nil
}

func writePNG(path string, img image.Image) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("synth: %w", err)
	}
	if err := errors.Join(png.Encode(f, img), f.Close()); err != nil {
		return fmt.Errorf("synth: %s: %w", path, err)
	}
	return nil
}
