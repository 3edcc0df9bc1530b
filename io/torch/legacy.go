package torch

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
)

// legacyMagic and legacyVersion open every file of torch.save before 1.6.
var legacyMagic, _ = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)

const legacyVersion = 1001

// readLegacy reads the layout before 1.6: the pickles of a magic number, a version, a description of the machine,
// the object and the list of storage keys; then each storage as an int64 count and its elements.
func readLegacy(r io.ReaderAt, size int64) (Value, error) {
	ids := storages{byKey: make(map[string]*storage)}
	m := newMachine(io.NewSectionReader(r, 0, size), size, ids.persist)
	v, err := m.load()
	if err != nil {
		return nil, fmt.Errorf("neither a zip archive nor a readable pickle: %w", err)
	}
	if n, ok := v.(*big.Int); !ok || n.Cmp(legacyMagic) != 0 {
		return nil, fmt.Errorf("a pickle, but not one of torch.save: the magic number is missing")
	}
	if v, err = m.load(); err != nil {
		return nil, err
	}
	if v != int64(legacyVersion) {
		n, _ := v.(int64)
		return nil, fmt.Errorf("version %d of the layout, expected %d", n, legacyVersion)
	}
	if v, err = m.load(); err != nil {
		return nil, err
	}
	info, ok := v.(*Dict)
	if little, _ := info.Get("little_endian"); !ok || little != true {
		return nil, fmt.Errorf("written on a big-endian machine, or its description is damaged")
	}
	root, err := m.load()
	if err != nil {
		return nil, err
	}
	list, err := m.load()
	if err != nil {
		return nil, err
	}
	keys, ok := list.(*List)
	if !ok {
		return nil, fmt.Errorf("storage keys are a %T, expected a list", list)
	}
	at := size - m.left
	for _, k := range keys.Items {
		key, _ := k.(string)
		s := ids.byKey[key]
		if s == nil || s.r != nil {
			return nil, fmt.Errorf("storage list names %.40q, which no tensor uses or which came before", fmt.Sprint(key))
		}
		var count [8]byte
		if _, err := readFull(r, count[:], at); err != nil {
			return nil, fmt.Errorf("storage %.40q: the file is truncated: %w", key, err)
		}
		n, need := int64(binary.LittleEndian.Uint64(count[:])), int64(s.numel)*int64(s.dtype.Size())
		if n != int64(s.numel) {
			return nil, fmt.Errorf("storage %.40q has %d elements, its tensors say %d", key, n, s.numel)
		}
		if at += 8; need > size-at {
			return nil, fmt.Errorf("storage %.40q needs %d bytes, the file has %d left: it is truncated", key, need, size-at)
		}
		s.r, s.off = r, at
		at += need
	}
	for _, key := range ids.keys {
		if ids.byKey[key].r == nil {
			return nil, fmt.Errorf("storage %.40q is used but not in the file", key)
		}
	}
	return root, nil
}
