package faultfs

import (
	"bytes"
	"fmt"
	iofs "io/fs"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"github.com/contraflow/contraflow/io/checkpoint"
)

// Mem is a file system in memory that remembers what has been synced. The zero value is empty and ready.
type Mem struct {
	mu   sync.Mutex
	root *dir
}

// Survive says what of the unsynced part a power cut leaves behind. Synced data and names always stay.
type Survive int

// A real disk leaves any mixture of these.
const (
	Nothing Survive = iota // no name and no byte that was not synced
	Files                  // names of files, but not of folders; of unsynced files half their bytes
	Names                  // every name; of unsynced files half their bytes
	All                    // everything: a process killed on a machine that goes on
)

type dir struct {
	entries map[string]any // *dir or *data
	synced  map[string]any
}

type data struct{ bytes, synced []byte }

func newDir() *dir { return &dir{entries: map[string]any{}, synced: map[string]any{}} }

// PowerCut is the file system as it is found after the machine went down now. m itself does not change.
func (m *Mem) PowerCut(keep Survive) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.root == nil {
		return &Mem{}
	}
	return &Mem{root: m.root.after(keep)}
}

func (d *dir) after(keep Survive) *dir {
	names := d.entries
	switch keep {
	case Nothing:
		names = d.synced
	case Files:
		names = d.files()
	}
	out := newDir()
	for name, e := range names {
		switch e := e.(type) {
		case *dir:
			out.entries[name] = e.after(keep)
		case *data:
			b := e.bytes
			switch {
			case keep == Nothing:
				b = e.synced
			case keep < All && !bytes.Equal(e.bytes, e.synced):
				b = e.bytes[:len(e.bytes)/2]
			}
			out.entries[name] = &data{bytes: bytes.Clone(b), synced: bytes.Clone(b)}
		}
		out.synced[name] = out.entries[name]
	}
	return out
}

// files are the folders that were synced and the files that are there: changes in the order a disk may choose.
func (d *dir) files() map[string]any {
	out := make(map[string]any)
	for name, e := range d.synced {
		if _, ok := e.(*dir); ok {
			out[name] = e
		}
	}
	for name, e := range d.entries {
		if _, ok := e.(*data); ok {
			out[name] = e
		}
	}
	return out
}

// find walks to the folder that holds name.
func (m *Mem) find(op, name string) (*dir, string, error) {
	if m.root == nil {
		m.root = newDir()
	}
	parts := strings.Split(filepath.ToSlash(filepath.Clean(name)), "/")
	d := m.root
	for _, p := range parts[:len(parts)-1] {
		next, ok := d.entries[p].(*dir)
		if !ok {
			return nil, "", fmt.Errorf("%s %s: %w", op, name, iofs.ErrNotExist)
		}
		d = next
	}
	return d, parts[len(parts)-1], nil
}

// Mkdir makes a folder and its parents. Parents that were there stay as synced as they were.
func (m *Mem) Mkdir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.root == nil {
		m.root = newDir()
	}
	d := m.root
	for _, p := range strings.Split(filepath.ToSlash(filepath.Clean(name)), "/") {
		switch e := d.entries[p].(type) {
		case nil:
			next := newDir()
			d.entries[p] = next
			d = next
		case *dir:
			d = e
		default:
			return fmt.Errorf("mkdir %s: %w", name, iofs.ErrExist)
		}
	}
	return nil
}

// Create makes an empty file.
func (m *Mem) Create(name string) (checkpoint.WriteFile, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.find("create", name)
	if err != nil {
		return nil, err
	}
	f, ok := d.entries[base].(*data)
	if !ok {
		f = &data{}
		d.entries[base] = f
	}
	f.bytes = nil
	return &memFile{m, f}, nil
}

// Open reads a file as it is now.
func (m *Mem) Open(name string) (checkpoint.ReadFile, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.find("open", name)
	if err != nil {
		return nil, err
	}
	f, ok := d.entries[base].(*data)
	if !ok {
		return nil, fmt.Errorf("open %s: %w", name, iofs.ErrNotExist)
	}
	return reader{bytes.NewReader(f.bytes)}, nil
}

// Rename moves a file over another, or a folder to a free name.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, old, err := m.find("rename", from)
	if err != nil {
		return err
	}
	b, name, err := m.find("rename", to)
	if err != nil {
		return err
	}
	e := a.entries[old]
	if e == nil {
		return fmt.Errorf("rename %s: %w", from, iofs.ErrNotExist)
	}
	if _, isDir := b.entries[name].(*dir); isDir {
		return fmt.Errorf("rename %s to %s: %w", from, to, iofs.ErrExist)
	}
	delete(a.entries, old)
	b.entries[name] = e
	return nil
}

// Remove removes a file or a whole folder; one that is not there is fine.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d, base, err := m.find("remove", name); err == nil {
		delete(d.entries, base)
	}
	return nil
}

// ReadDir lists a folder.
func (m *Mem) ReadDir(name string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.find("readdir", name)
	if err != nil {
		return nil, err
	}
	sub, ok := d.entries[base].(*dir)
	if !ok {
		return nil, fmt.Errorf("readdir %s: %w", name, iofs.ErrNotExist)
	}
	names := make([]string, 0, len(sub.entries))
	for n := range sub.entries {
		names = append(names, n)
	}
	sort.Strings(names)
	return names, nil
}

// SyncDir makes the names in a folder survive; the folder's own is its parent's business.
func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.find("syncdir", name)
	if err != nil {
		return err
	}
	sub, ok := d.entries[base].(*dir)
	if base == "." {
		sub, ok = m.root, true
	}
	if !ok {
		return fmt.Errorf("syncdir %s: %w", name, iofs.ErrNotExist)
	}
	sub.synced = make(map[string]any, len(sub.entries))
	for n, e := range sub.entries {
		sub.synced[n] = e
	}
	return nil
}

type memFile struct {
	m *Mem
	f *data
}

func (f *memFile) Write(p []byte) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.f.bytes = append(f.f.bytes, p...)
	return len(p), nil
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.f.synced = bytes.Clone(f.f.bytes)
	return nil
}

func (f *memFile) Close() error { return nil }

type reader struct{ *bytes.Reader }

func (r reader) Size() (int64, error) { return r.Reader.Size(), nil }
func (r reader) Close() error         { return nil }
