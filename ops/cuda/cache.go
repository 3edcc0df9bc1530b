//go:build cuda

package cuda

import (
	"os"
	"path/filepath"
)

// cacheFolder is the folder for compiled kernels and chosen engines.
func cacheFolder(dir string) (string, error) {
	if dir == "" {
		dir = os.Getenv("CONTRAFLOW_CACHE")
	}
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil { // no home: the cache is only for speed
			user = os.TempDir()
		}
		dir = filepath.Join(user, "contraflow", "cuda")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// replace writes a file so that others see the old or the new one, whole.
func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Close()
	} else {
		f.Close()
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
