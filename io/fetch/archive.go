package fetch

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
)

// Archive is a published .tar.gz of one folder.
type Archive struct {
	URL    string
	MD5    string // of the archive, as its publisher gives it
	Folder string // it unpacks to
	Files  []File // that make it complete
}

// File is one file of an archive. Others are left out.
type File struct {
	Name string
	Size int64 // 0 is any
}

// Options change how an archive is fetched. The zero value is ready.
type Options struct {
	Client   *http.Client // nil makes one
	Keep     bool         // keep the archive beside the folder
	Progress func(done, total int64)
}

// Get brings the folder of an archive into dir, and says where it is. A folder that is complete stays as it is; one that
// exists and is not complete is an error, since it is not ours to change.
func Get(ctx context.Context, a Archive, dir string, o Options) (string, error) {
	folder := filepath.Join(dir, a.Folder)
	if _, err := os.Lstat(folder); err == nil {
		return folder, complete(folder, a.Files)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	file := filepath.Join(dir, path.Base(a.URL))
	sum, err := sumOf(file)
	switch {
	case err == nil && sum != a.MD5:
		return "", fmt.Errorf("%s exists and its MD5 sum is %s, not %s: move it away, or give another --out", file, sum, a.MD5)
	case err != nil:
		if err := download(ctx, o, a.URL, file+".part"); err != nil {
			return "", err
		}
		if sum, err = sumOf(file + ".part"); err != nil {
			return "", err
		}
		if sum != a.MD5 {
			os.Remove(file + ".part")
			os.Remove(file + ".part.tag")
			return "", fmt.Errorf("%s: the MD5 sum is %s, want %s: what came is damaged or not the published file, and was removed", a.URL, sum, a.MD5)
		}
		if err := os.Rename(file+".part", file); err != nil {
			return "", err
		}
		os.Remove(file + ".part.tag")
	}
	if err := unpack(ctx, file, folder+".part", a); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	if err := os.Rename(folder+".part", folder); err != nil {
		return "", err
	}
	if !o.Keep {
		return folder, os.Remove(file)
	}
	return folder, nil
}

// complete checks that a folder holds the files.
func complete(folder string, files []File) error {
	for _, f := range files {
		info, err := os.Stat(filepath.Join(folder, f.Name))
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s exists and lacks %s: move it away, or give another --out", folder, f.Name)
		}
		if err != nil {
			return err
		}
		if f.Size > 0 && info.Size() != f.Size {
			return fmt.Errorf("%s: %d bytes, want %d: move %s away, or give another --out", filepath.Join(folder, f.Name), info.Size(), f.Size, folder)
		}
	}
	return nil
}

func sumOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := md5.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// unpack writes the wanted files into a new folder. Names are compared, never used as paths.
func unpack(ctx context.Context, file, folder string, a Archive) error {
	if err := os.RemoveAll(folder); err != nil { // left by an attempt of ours
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	want := map[string]File{}
	for _, w := range a.Files {
		want[path.Join(a.Folder, w.Name)] = w
	}
	t := tar.NewReader(z)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		w, ok := want[path.Clean(h.Name)]
		if !ok || h.Typeflag != tar.TypeReg {
			continue
		}
		if err := write(ctx, filepath.Join(folder, w.Name), t); err != nil {
			return err
		}
	}
	if err := complete(folder, a.Files); err != nil {
		return fmt.Errorf("the archive is not what was expected: %w", err)
	}
	return nil
}

func write(ctx context.Context, file string, from io.Reader) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, reader{ctx, from})
	return errors.Join(err, f.Close())
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
