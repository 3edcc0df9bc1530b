//go:build cuda

package cuda

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/ebitengine/purego"

	"github.com/contraflow/contraflow/ops/cuda/cublaslt"
	"github.com/contraflow/contraflow/ops/cuda/cudnn"
	"github.com/contraflow/contraflow/ops/cuda/driver"
	"github.com/contraflow/contraflow/ops/cuda/nvrtc"
)

// library says where one of NVIDIA's libraries may be.
type library struct {
	variable string   // of the environment, with a path
	names    []string // that the loader may know
	folders  []string // under a Python's site-packages
	pip      string   // what brings it
}

var (
	libNVRTC = library{"CONTRAFLOW_NVRTC", []string{"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"},
		[]string{"nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"}, "nvidia-cuda-nvrtc"}
	libBLAS = library{"CONTRAFLOW_CUBLASLT", []string{"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"},
		[]string{"nvidia/cu13/lib", "nvidia/cublas/lib"}, "nvidia-cublas"}
	libDNN = library{"CONTRAFLOW_CUDNN", []string{"libcudnn.so.9", "libcudnn.so"}, []string{"nvidia/cudnn/lib"}, "nvidia-cudnn-cu13"}
)

// open tries f on every place until one works.
func open[T any](l library, f func(path string) (T, error)) (T, error) {
	var none T
	if path := os.Getenv(l.variable); path != "" {
		lib, err := f(path)
		if err != nil {
			return none, fmt.Errorf("%s: %w", l.variable, err)
		}
		return lib, nil
	}
	var tried []string
	for _, name := range l.names {
		if lib, err := f(name); err == nil {
			return lib, nil
		}
		tried = append(tried, name)
	}
	for _, site := range sitePackages() {
		for _, folder := range l.folders {
			for _, name := range l.names {
				path := filepath.Join(site, folder, name)
				if _, err := os.Stat(path); err != nil {
					continue
				}
				preload(filepath.Dir(path))
				lib, err := f(path)
				if err == nil {
					return lib, nil
				}
				tried = append(tried, path+" ("+err.Error()+")")
			}
		}
	}
	return none, fmt.Errorf("cannot load %s (tried %s): install it, for example pip install %s, put its folder into LD_LIBRARY_PATH, or name the file in %s",
		l.names[0], strings.Join(tried, ", "), l.pip, l.variable)
}

// preload loads the parts that libcudnn looks for by bare name, so that it finds them although its folder is not on the path.
func preload(dir string) {
	for _, part := range []string{"ops", "graph", "heuristic", "engines_precompiled", "engines_runtime_compiled", "cnn", "adv"} {
		matches, _ := filepath.Glob(filepath.Join(dir, "libcudnn_"+part+".so.9"))
		for _, m := range matches {
			_, _ = purego.Dlopen(m, purego.RTLD_NOW|purego.RTLD_GLOBAL) // what is missing is told by libcudnn itself
		}
	}
}

// sitePackages asks the machine's Python where wheels are installed; NVIDIA's come with PyTorch.
var sitePackages = sync.OnceValue(func() []string {
	out, err := exec.Command("python3", "-c", "import site,sys;print('\\n'.join(site.getsitepackages()+[site.getusersitepackages()]+sys.path))").Output()
	if err != nil {
		return nil
	}
	return strings.Fields(string(out))
})

// openLibraries loads cuBLASLt before cuDNN, which uses it.
func (d *Device) openLibraries() (err error) {
	if d.blas, err = open(libBLAS, cublaslt.Open); err != nil {
		return err
	}
	if d.dnn, err = open(libDNN, cudnn.Open); err != nil {
		return err
	}
	if d.dnn.Version() < 90000 {
		return fmt.Errorf("cuDNN %d is too old: want 9.0.0 or newer", d.dnn.Version())
	}
	d.plans = readPlans(d.plansPath())
	return d.dnn.SetStream(driver.StreamHandle(d.compute))
}

func openNVRTC() (*nvrtc.Lib, error) { return open(libNVRTC, nvrtc.Open) }
