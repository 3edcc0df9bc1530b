package npz

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/peertest"
	"github.com/contraflow/contraflow/io/raw"
)

func sample() []raw.Tensor {
	return []raw.Tensor{
		raw.FromFloat32("model/conv1.weight", []int{2, 3}, []float32{0, 1, -2, 3.5, 1e-45, 6}),
		raw.FromInt64("model/bn1.num_batches_tracked", nil, []int64{-7}),
		{Name: "empty", DType: raw.Float64, Shape: []int{0, 4}},
		{Name: "half", DType: raw.Float16, Shape: []int{1}, Data: []byte{0, 0x3c}},
		{Name: "bool", DType: raw.Bool, Shape: []int{1, 2, 1}, Data: []byte{1, 0}},
		{Name: "i4", DType: raw.Int32, Shape: []int{1}, Data: []byte{1, 2, 3, 4}},
	}
}

func archive(t testing.TB, tensors []raw.Tensor) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, tensors); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.npz")
	if err := os.WriteFile(path, archive(t, sample()), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, want := range sample() {
		got, err := f.Read(f.Names[i])
		if err != nil {
			t.Fatal(err)
		}
		if got.Name != want.Name || got.DType != want.DType || fmt.Sprint(got.Shape) != fmt.Sprint(want.Shape) || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%q: got %v, want %v", want.Name, got, want)
		}
	}
	if _, err := f.Read("absent"); err == nil {
		t.Error("an absent array was read")
	}
}

func TestBFloat16(t *testing.T) {
	b := archive(t, []raw.Tensor{{Name: "x", DType: raw.BFloat16, Shape: []int{1}, Data: []byte{0x80, 0x3f}}})
	f, err := NewFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if x, err := f.Read("x"); err != nil || x.DType != raw.Float32 || x.At(0) != 1 {
		t.Errorf("%v, %v, want float32 1", x, err)
	}
}

// npy is an array with a header of the given text.
func npy(version byte, text, data string) string {
	length := []byte{byte(len(text)), byte(len(text) >> 8)}
	if version > 1 {
		length = append(length, 0, 0)
	}
	return magic + string(version) + "\x00" + string(length) + text + data
}

func TestForeign(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want []float32
	}{
		"big endian":    {npy(1, "{'descr': '>i2', 'fortran_order': False, 'shape': (2,), }\n", "\x01\x00\xff\xff"), []float32{256, -1}},
		"fortran":       {npy(2, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }\n", "\x01\x04\x02\x05\x03\x06"), []float32{1, 2, 3, 4, 5, 6}},
		"fortran 3":     {npy(3, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 1, 2), }", "\x01\x03\x02\x04"), []float32{1, 2, 3, 4}},
		"python 2":      {npy(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (1L,), }\n", "\x00\x00\x00\x00\x00\x00\xf0\x3f"), []float32{1}},
		"other spacing": {npy(1, `{"shape":(),"descr":"|i1","fortran_order":False}`, "\xff"), []float32{-1}},
	} {
		x, err := ReadArray(strings.NewReader(c.file))
		if err != nil || !reflect.DeepEqual(x.Float32s(), c.want) {
			t.Errorf("%s: %v, %v, want %v", name, x, err, c.want)
		}
	}
}

func TestRefuses(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"empty":      {"", "does not start"},
		"version":    {magic + "\x04\x00\x00\x00\x00\x00", "version 4"},
		"header":     {magic + "\x02\x00\xff\xff\xff\xff", "at most"},
		"cut header": {magic + "\x01\x00\x10\x00abc", "unexpected EOF"},
		"object":     {npy(1, "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", ""), `"|O"`},
		"string":     {npy(1, "{'descr': '<U5', 'fortran_order': False, 'shape': (1,)}", ""), `"<U5"`},
		"record":     {npy(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", ""), "records and objects"},
		"negative":   {npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", ""), "lacks a simple"},
		"overflow":   {npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", ""), "too large"},
		"too long":   {npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", ""), "fit"},
		"huge":       {npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}", "1234"), "ends after 4 of"},
		"truncated":  {npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "1234"), "ends after 4 of 8"},
	} {
		if _, err := ReadArray(strings.NewReader(c.file)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	one := npy(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}", "\x01")
	for name, c := range map[string]struct {
		records []string
		want    string
	}{
		"twice":    {[]string{"a.npy", one, "a.npy", one}, "two arrays"},
		"other":    {[]string{"a.txt", "x"}, "no .npy"},
		"trailing": {[]string{"a.npy", one + "x"}, "behind the last"},
	} {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for i := 0; i < len(c.records); i += 2 {
			w, err := z.Create(c.records[i])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(c.records[i+1])); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := NewFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err == nil {
			_, err = f.Read("a")
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	var bomb bytes.Buffer
	z := zip.NewWriter(&bomb)
	for _, name := range []string{"a.npy", "b.npy"} { // each of them would be let pass
		w, err := z.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Deflate, CompressedSize64: 200_000, UncompressedSize64: 200_000_000})
		if err != nil {
			t.Fatal(err)
		}
		w.Write(make([]byte, 200_000))
	}
	z.Close()
	if _, err := NewFile(bytes.NewReader(bomb.Bytes()), int64(bomb.Len())); err == nil || !strings.Contains(err.Error(), "taken for a decompression bomb") {
		t.Errorf("a bomb: %v", err)
	}
	// A flipped byte of data is found by the archive's checksum.
	b := archive(t, sample())
	at := bytes.Index(b, []byte{1, 2, 3, 4})
	b[at] ^= 1
	f, err := NewFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read("i4"); !errors.Is(err, zip.ErrChecksum) {
		t.Errorf("damaged: %v, want %v", err, zip.ErrChecksum)
	}
}

// TestNumPy lets NumPy read what Write wrote and write what Open reads.
func TestNumPy(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.npz"), filepath.Join(dir, "out.npz")
	if err := os.WriteFile(in, archive(t, sample()), 0o644); err != nil {
		t.Fatal(err)
	}
	const script = `
import json, sys, numpy as np
z = np.load(sys.argv[1])
print(json.dumps({k: [str(z[k].dtype), list(z[k].shape), z[k].tobytes().hex()] for k in z.files}))
a = np.arange(24, dtype='f4').reshape(2, 3, 4)
np.savez_compressed(sys.argv[2], c=a, f=np.asfortranarray(a), big=a.astype('>f8'), s=np.float16(1.5), zeros=np.zeros(100000))
`
	text := peertest.Run(t, "numpy", "-c", script, in, out)
	var got map[string][]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for _, w := range sample() {
		want := fmt.Sprintf("[%v %v %x]", w.DType, w.Shape, w.Data)
		if g := fmt.Sprint(got[w.Name]); g != want {
			t.Errorf("NumPy reads %q as %s, want %s", w.Name, g, want)
		}
	}
	f, err := Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, n := range map[string]int{"c": 24, "f": 24, "big": 24, "s": 1, "zeros": 100000} {
		x, err := f.Read(name)
		if err != nil || x.Len() != n {
			t.Errorf("%q: %d elements, %v", name, x.Len(), err)
			continue
		}
		for i := range min(n, 24) {
			want := float64(i)
			if n != 24 {
				want = map[string]float64{"s": 1.5}[name]
			}
			if x.At(i) != want {
				t.Errorf("%q[%d] = %v, want %v", name, i, x.At(i), want)
			}
		}
	}
}

// within fails the test when f allocates more, freed or not, than 4 MiB and factor times the size of its input.
func within(t *testing.T, size, factor int, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(4<<20+factor*size); got > limit {
		t.Fatalf("allocated %d bytes for a file of %d, limit %d", got, size, limit)
	}
}

func FuzzFile(f *testing.F) {
	f.Add(archive(f, sample()))
	f.Add(archive(f, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var z *File
		var err error
		within(t, len(b), 64, func() { z, err = NewFile(bytes.NewReader(b), int64(len(b))) })
		if err != nil {
			return
		}
		for _, n := range z.Names {
			// An array may be as large as its compressed bytes can stand for, and memory grows towards it by doubling.
			within(t, len(b), 4*maxRatio, func() {
				if x, err := z.Read(n); err == nil {
					if err := x.Check(); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	})
}

func FuzzArray(f *testing.F) {
	f.Add(npy(1, "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 1), }\n", "\x01\x00\xff\xff"))
	f.Add(npy(2, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", "1234"))
	f.Fuzz(func(t *testing.T, s string) {
		within(t, len(s), 64, func() {
			x, err := ReadArray(strings.NewReader(s))
			if err != nil {
				return
			}
			if err := x.Check(); err != nil {
				t.Fatal(err)
			}
			if len(x.Data) > len(s) {
				t.Fatalf("%d bytes of elements out of %d", len(x.Data), len(s))
			}
		})
	})
}
