//go:build cuda

package cuda

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"gorgonia.org/cu"

	"github.com/contraflow/contraflow/ops/cuda/driver"
	"github.com/contraflow/contraflow/ops/cuda/kernel"
)

// kernels are the functions of the module, found when first launched.
type kernels struct {
	module cu.Module
	byName map[string]cu.Function
	args   driver.Args
}

// loadKernels compiles the module for the device, or takes what an earlier run compiled.
func (d *Device) loadKernels() error {
	options := []string{"--gpu-architecture=" + d.arch, "--std=c++17"}
	if d.o.BF16 {
		options = append(options, "-DCF_BF16")
	}
	sources := kernel.Sources()
	path := filepath.Join(d.cache, "kernels-"+d.arch+"-"+digest(sources, options)+".cubin")
	image, err := os.ReadFile(path)
	if err != nil {
		lib, err := openNVRTC()
		if err != nil {
			return err
		}
		if image, err = lib.Compile(kernel.Main, sources, options); err != nil {
			return err
		}
		if err := replace(path, image); err != nil {
			return fmt.Errorf("keep compiled kernels: %w: name another folder in CONTRAFLOW_CACHE", err)
		}
	}
	d.kernels.byName = map[string]cu.Function{}
	if d.kernels.module, err = cu.LoadData(string(image)); err != nil {
		return fmt.Errorf("load %s: %w: delete it, so that it is compiled again", path, err)
	}
	return nil
}

func digest(sources map[string]string, options []string) string {
	var names []string
	for n := range sources {
		names = append(names, n)
	}
	slices.Sort(names)
	h := sha256.New()
	for _, n := range names {
		fmt.Fprintf(h, "%s\x00%s\x00", n, sources[n])
	}
	fmt.Fprint(h, options)
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// args begins the argument list of a launch.
func (d *Device) args() *driver.Args { return d.kernels.args.Reset() }

// launch puts a kernel on the compute stream.
func (d *Device) launch(name string, grid, block driver.Dim, a *driver.Args) error {
	f, ok := d.kernels.byName[name]
	if !ok {
		var err error
		if f, err = d.kernels.module.Function(name); err != nil {
			return fmt.Errorf("kernel %s: %w", name, err)
		}
		d.kernels.byName[name] = f
	}
	if err := driver.Launch(f, d.compute, grid, block, 0, a); err != nil {
		return fmt.Errorf("kernel %s: %w", name, err)
	}
	return nil
}

const (
	threads   = 256  // of a block that walks over values
	maxBlocks = 4096 // several times what the largest devices hold at once
)

// each launches a kernel that walks over n items, on lanes parallel lines along y.
func (d *Device) each(name string, n int64, lanes int, a *driver.Args) error {
	blocks := min((n+threads-1)/threads, maxBlocks)
	return d.launch(name, driver.Dim{int(max(blocks, 1)), lanes, 1}, driver.Dim{threads, 1, 1}, a)
}
