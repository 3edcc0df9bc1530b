package torch

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/contraflow/contraflow/io/raw"
)

// File is an open .pth. The tree below Root is complete; the bytes of tensors are read from the file on demand.
type File struct {
	Root   Value
	Layout string // "zip" or "legacy"

	tensors []Named
	close   func() error
}

// Named is a tensor and its name: in a File the path of keys joined by '/', in a StateDict its key.
type Named struct {
	Name string
	*Tensor
}

// Open opens a .pth of either layout. Close it when the tensors have been read.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	p, err := NewFile(f, info.Size())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	p.close = f.Close
	return p, nil
}

// NewFile reads the objects of the size bytes of r, which must stay readable while tensors are read.
func NewFile(r io.ReaderAt, size int64) (*File, error) {
	head := make([]byte, min(size, 512))
	if _, err := readFull(r, head, 0); err != nil {
		return nil, err
	}
	f := &File{close: func() error { return nil }}
	var err error
	switch {
	case len(head) == 0:
		return nil, fmt.Errorf("the file is empty")
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		f.Layout = "zip"
		f.Root, err = readZip(r, size)
	case len(head) >= 262 && string(head[257:262]) == "ustar":
		return nil, fmt.Errorf("a tar checkpoint of PyTorch 0.1 is not supported: load it in PyTorch and save it again")
	default:
		f.Layout = "legacy"
		f.Root, err = readLegacy(r, size)
	}
	if err != nil {
		return nil, err
	}
	w := walker{size: size, open: make(map[Value]bool), seen: make(map[*Tensor]bool)}
	if err := w.walk(f.Root, "", 0); err != nil {
		return nil, err
	}
	f.tensors = w.tensors
	return f, nil
}

// Close closes the file that Open opened.
func (f *File) Close() error { return f.close() }

// Tensors lists every tensor of the tree in file order.
func (f *File) Tensors() []Named { return f.tensors }

// walker checks that the tree is one: no cycles, not too deep, nothing half-built, and not more tensor data
// than a checkpoint can mean.
type walker struct {
	size    int64
	visits  int
	text    int // bytes of paths
	bytes   int64
	open    map[Value]bool
	seen    map[*Tensor]bool
	tensors []Named
}

func (w *walker) walk(v Value, path string, depth int) error {
	w.visits++
	w.text += len(path)
	if w.visits > maxVisits || depth > maxDepth || w.text > maxBudget {
		return fmt.Errorf("the objects at %.100q nest or repeat beyond anything a checkpoint holds", path)
	}
	switch v := v.(type) {
	case Tuple:
		return w.items(v, path, depth)
	case *List:
		if w.open[v] {
			return fmt.Errorf("the list at %.100q contains itself", path)
		}
		w.open[v] = true
		defer delete(w.open, v)
		return w.items(v.Items, path, depth)
	case *Dict:
		if w.open[v] {
			return fmt.Errorf("the dict at %.100q contains itself", path)
		}
		w.open[v] = true
		defer delete(w.open, v)
		if v.Attrs != nil {
			n := len(w.tensors)
			if err := w.walk(v.Attrs, path, depth+1); err != nil {
				return err
			}
			w.tensors = w.tensors[:n]
		}
		for i := range v.keys {
			if err := w.walk(v.values[i], join(path, fmt.Sprint(v.keys[i])), depth+1); err != nil {
				return err
			}
		}
		return nil
	case *Tensor:
		w.tensors = append(w.tensors, Named{path, v})
		if !w.seen[v] {
			w.seen[v] = true
			w.bytes += int64(v.Len() * v.DType.Size())
		}
		if w.bytes > 16*w.size+64<<20 {
			return fmt.Errorf("tensors up to %.100q cover %d bytes of views in a file of %d: not a checkpoint", path, w.bytes, w.size)
		}
		return nil
	case global, *storage, *numpyType:
		return fmt.Errorf("the value at %.100q is a bare class or storage, not data", path)
	}
	return nil
}

func (w *walker) items(items []Value, path string, depth int) error {
	for i, v := range items {
		if err := w.walk(v, join(path, strconv.Itoa(i)), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "/" + key
}

// storages answers persistent ids: ('storage', type, key, location, numel[, view]). The location, cuda or not, is
// where PyTorch would put it; here everything is in the file.
type storages struct {
	byKey map[string]*storage
	keys  []string // in order of first use
}

func (s *storages) persist(id Tuple) (Value, error) {
	kind, _ := arg[string](id, 0)
	if kind != "storage" {
		return nil, fmt.Errorf("pickle has a persistent id of kind %.40q: a whole module was saved, not its state_dict", kind)
	}
	g, ok := arg[global](id, 1)
	dtype := storageTypes[g]
	key, ok2 := arg[string](id, 2)
	_, ok3 := arg[string](id, 3)
	numel, ok4 := arg[int64](id, 4)
	if !ok || !ok2 || !ok3 || !ok4 || !dtype.Valid() || len(id) > 6 {
		return nil, fmt.Errorf("pickle has a storage id that is not (type, key, location, size)")
	}
	if _, ok := raw.Count([]int{int(numel)}, dtype.Size()); !ok || int64(int(numel)) != numel {
		return nil, fmt.Errorf("storage %.40q has %d elements: negative or too large", key, numel)
	}
	root := s.byKey[key]
	if root == nil {
		root = &storage{dtype: dtype, numel: int(numel)}
		s.byKey[key] = root
		s.keys = append(s.keys, key)
	}
	if root.dtype != dtype || root.numel != int(numel) {
		return nil, fmt.Errorf("storage %.40q is used as %d elements of %v and as %d of %v", key, root.numel, root.dtype, numel, dtype)
	}
	view, ok := arg[Tuple](id, 5)
	if !ok {
		return root, nil
	}
	shift, ok := arg[int64](view, 1)
	count, ok2 := arg[int64](view, 2)
	if !ok || !ok2 || shift < 0 || count < 0 || shift > numel || count > numel-shift {
		return nil, fmt.Errorf("storage %.40q has a view outside its %d elements", key, numel)
	}
	return &storage{dtype: dtype, numel: int(count), root: root, shift: int(shift)}, nil
}
