package shard

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Sample is one image to write.
type Sample struct {
	Name  string // where it comes from, "class/file.jpg"; its key is made of it
	Ext   string // "jpg", "ppm.zst"
	Label int    // -1 is none
	Data  []byte
}

// Writer writes a data set as shards. A shard appears under its name when it is whole, the manifest last: a folder without one was not
// finished. It is used by one goroutine.
type Writer struct {
	dir      string
	made     []string // files under any of their names, until the data set is whole
	most     int64
	manifest Manifest
	split    string
	shard    *growing
	n        int // samples of the split
}

// growing is the shard that is being written.
type growing struct {
	file  *os.File
	buf   *bufio.Writer
	sum   hash.Hash
	at    *counter
	tar   *tar.Writer
	index index
	name  string
}

type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

// Create starts a data set in dir, which must be absent or empty. A shard ends before it would grow beyond most bytes. Options, if
// not nil, are kept in the manifest.
func Create(dir string, classes []string, most int64, options any) (*Writer, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty (%s and %d more): give an empty or new folder", dir, entries[0].Name(), len(entries)-1)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if classes == nil {
		classes = []string{}
	}
	w := &Writer{dir: dir, most: most, manifest: Manifest{Format: manifestFormat, Classes: classes, Splits: map[string]Split{}}}
	if options != nil {
		if w.manifest.Options, err = json.Marshal(options); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Split starts a split: what Add is given belongs to it.
func (w *Writer) Split(name string) error {
	if err := w.endShard(); err != nil {
		return err
	}
	if _, ok := w.manifest.Splits[name]; ok || name == "" || name != filepath.Base(name) {
		return fmt.Errorf("shard: split %q: want a name that is new and has no slash", name)
	}
	w.split, w.n = name, 0
	w.manifest.Splits[name] = Split{}
	return nil
}

// key is unique within a split, sorts in order, keeps the folder, and has no dot behind it.
func (w *Writer) key(name string) string {
	name = filepath.ToSlash(name)
	dir, base := "", name
	if at := strings.LastIndexByte(name, '/'); at >= 0 {
		dir, base = name[:at+1], name[at+1:]
	}
	base, _, _ = strings.Cut(base, ".")
	return fmt.Sprintf("%s%08d_%s", dir, w.n, base)
}

// Add writes one sample behind the others of its split.
func (w *Writer) Add(s Sample) error {
	key := w.key(s.Name)
	need := int64(len(s.Data)+511)/512*512 + 4*512 // with headers, label and the end
	if w.shard != nil && w.shard.at.n+need > w.most && len(w.shard.index.rows) > 0 {
		if err := w.endShard(); err != nil {
			return err
		}
	}
	if w.shard == nil {
		if err := w.startShard(); err != nil {
			return err
		}
	}
	g := w.shard
	if err := g.member(key+"."+s.Ext, s.Data); err != nil {
		return err
	}
	at := g.at.n - int64(len(s.Data))
	label := ""
	if s.Label >= 0 {
		label = strconv.Itoa(s.Label)
		if err := g.member(key+".cls", []byte(label)); err != nil {
			return err
		}
	}
	w.n++
	return g.index.add(key, s.Ext, label, at, int64(len(s.Data)), crc32.Checksum(s.Data, castagnoli))
}

func (g *growing) member(name string, data []byte) error {
	if err := g.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
		return err
	}
	_, err := g.tar.Write(data)
	return err
}

func (w *Writer) startShard() error {
	s := w.manifest.Splits[w.split]
	g := &growing{name: fmt.Sprintf("%s-%06d.tar", w.split, len(s.Shards)), sum: sha256.New()}
	w.made = append(w.made, g.name, g.name+".idx")
	var err error
	if g.file, err = os.Create(filepath.Join(w.dir, g.name+".part")); err != nil {
		return err
	}
	g.buf = bufio.NewWriterSize(g.file, 1<<20)
	g.at = &counter{Writer: io.MultiWriter(g.buf, g.sum)}
	g.tar = tar.NewWriter(g.at)
	g.index.summed = true
	w.shard = g
	return nil
}

// endShard closes the shard, writes its index, gives it its name and enters it into the manifest.
func (w *Writer) endShard() error {
	g := w.shard
	if g == nil {
		return nil
	}
	w.shard = nil
	err := g.tar.Close()
	if err == nil {
		err = g.buf.Flush()
	}
	if err == nil {
		err = g.file.Sync()
	}
	if err = errors.Join(err, g.file.Close()); err != nil {
		return err
	}
	g.index.bytes = g.at.n
	path := filepath.Join(w.dir, g.name)
	if err := whole(path+".idx", g.index.write); err != nil {
		return err
	}
	if err := os.Rename(path+".part", path); err != nil {
		return err
	}
	s := w.manifest.Splits[w.split]
	s.Samples += len(g.index.rows)
	s.Shards = append(s.Shards, Shard{File: g.name, Bytes: g.at.n, Samples: len(g.index.rows), SHA256: hex.EncodeToString(g.sum.Sum(nil))})
	w.manifest.Splits[w.split] = s
	return nil
}

// whole writes a file under a temporary name first.
func whole(path string, write func(io.Writer) error) error {
	f, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// Close ends the last shard and writes the manifest.
func (w *Writer) Close() error {
	if err := w.endShard(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(w.manifest, "", "  ")
	if err != nil {
		return err
	}
	w.made = append(w.made, ManifestName)
	if err := whole(filepath.Join(w.dir, ManifestName), func(to io.Writer) error {
		_, err := to.Write(append(text, '\n'))
		return err
	}); err != nil {
		return err
	}
	w.made = nil
	return nil
}

// Abort gives up and removes what was written, so that the folder can be used again. After Close it does nothing.
func (w *Writer) Abort() {
	if w.shard != nil {
		w.shard.file.Close()
		w.shard = nil
	}
	for _, name := range w.made {
		os.Remove(filepath.Join(w.dir, name))
		os.Remove(filepath.Join(w.dir, name+".part"))
	}
	w.made = nil
}

// Manifest is what has been written so far.
func (w *Writer) Manifest() Manifest { return w.manifest }
