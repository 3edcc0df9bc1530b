package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/raw"
)

func sample() []raw.Tensor {
	nan := float32(math.NaN())
	return []raw.Tensor{
		raw.FromFloat32("l_to_ab.conv1.weight", []int{2, 3}, []float32{0, 1, -2, nan, float32(math.Inf(1)), 1e-45}),
		raw.FromInt64("num_batches_tracked", nil, []int64{7}),
		{Name: "empty", DType: raw.Float64, Shape: []int{0, 4}, Data: []byte{}},
		{Name: "half", DType: raw.Float16, Shape: []int{1}, Data: []byte{0, 0x3c}},
		{Name: "bf16", DType: raw.BFloat16, Shape: []int{1}, Data: []byte{0x80, 0x3f}},
		{Name: "ünïcode \"quoted\"\n", DType: raw.Uint8, Shape: []int{3}, Data: []byte{1, 2, 3}},
	}
}

func open(t *testing.T, b []byte) *File {
	t.Helper()
	f, err := NewFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func encode(t *testing.T, tensors []raw.Tensor, meta map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, tensors, meta); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := os.WriteFile(path, encode(t, sample(), map[string]string{"format": "pt"}), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Metadata["format"] != "pt" {
		t.Errorf("metadata = %v", f.Metadata)
	}
	for _, want := range sample() {
		got, err := f.Read(want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if got.DType != want.DType || !bytes.Equal(got.Data, want.Data) || fmt.Sprint(got.Shape) != fmt.Sprint(want.Shape) {
			t.Errorf("%q: got %v, want %v", want.Name, got, want)
		}
	}
	if f.data%headerUnit != 0 {
		t.Errorf("data starts at %d, not at a multiple of %d", f.data, headerUnit)
	}
	if _, err := f.Read("absent"); err == nil {
		t.Error("an absent tensor was read")
	}
}

// TestForeign reads a file laid out by hand from the format's description: no checksums, no padding, and a header
// order that is not the data order.
func TestForeign(t *testing.T) {
	f := open(t, file(`{"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]},"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}}`, "\x01\xff\x00\x00\x80\x3f"))
	var names []string
	for _, e := range f.Entries {
		names = append(names, e.Name)
	}
	if want := []string{"a", "b"}; !reflect.DeepEqual(names, want) {
		t.Errorf("order = %v, want %v", names, want)
	}
	b, err := f.Read("b")
	if err != nil || b.At(0) != 1 {
		t.Errorf("b = %v, %v", b, err)
	}
}

func file(header, data string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func TestRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":         {nil, "shorter than its header length"},
		"huge header":   {binary.LittleEndian.AppendUint64(nil, 1<<62), "a header of"},
		"header > file": {binary.LittleEndian.AppendUint64(nil, 1<<20), "truncated"},
		"not an object": {file(`[]`, ""), "not a JSON object"},
		"twice":         {file(`{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}`, "x"), "twice"},
		"type":          {file(`{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}`, "x"), "F8_E4M3"},
		"shape":         {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, "1234"), "does not fill"},
		"overflow":      {file(`{"a":{"dtype":"I8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, ""), "does not fill"},
		"negative":      {file(`{"a":{"dtype":"I8","shape":[-1,-4],"data_offsets":[0,4]}}`, "1234"), "does not fill"},
		"beyond":        {file(`{"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}}`, "123"), "claims bytes 0 to 4 of 3"},
		"backwards":     {file(`{"a":{"dtype":"I8","shape":[0],"data_offsets":[3,0]}}`, "123"), "claims bytes"},
		"hole":          {file(`{"a":{"dtype":"I8","shape":[1],"data_offsets":[1,2]}}`, "12"), "expected 0"},
		"overlap":       {file(`{"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"I8","shape":[2],"data_offsets":[1,3]}}`, "123"), "expected 2"},
		"appended":      {file(`{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}`, "12"), "appended"},
		"no offsets":    {file(`{"a":{"dtype":"I8","shape":[1]}}`, "1"), "no pair"},
		"trailing":      {file(`{} {}`, ""), "bytes behind"},
		"bad checksum":  {file(`{"__metadata__":{"crc32c:a":"zz"},"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}`, "1"), "hexadecimal"},
	} {
		if _, err := NewFile(bytes.NewReader(c.file), int64(len(c.file))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

// TestDamage flips every byte of the data in turn: the checksum must name the tensor that holds it.
func TestDamage(t *testing.T) {
	b := encode(t, sample(), nil)
	f := open(t, b)
	for _, e := range f.Entries {
		for at := f.data + e.begin; at < f.data+e.end; at++ {
			b[at] ^= 0x10
			_, err := f.Read(e.Name)
			var sum *ChecksumError
			if !errors.As(err, &sum) || sum.Tensor != e.Name {
				t.Fatalf("byte %d flipped in %q: error %v, want a ChecksumError that names it", at, e.Name, err)
			}
			b[at] ^= 0x10
		}
	}
}

// broken is a file that cannot be read from a place on.
type broken struct {
	*bytes.Reader
	from int64
}

var errBroken = errors.New("input/output error")

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if n := b.from - off; n < int64(len(p)) {
		return int(max(n, 0)), errBroken
	}
	return b.Reader.ReadAt(p, off)
}

// TestUnreadable: what the disk says is told, wherever it fails.
func TestUnreadable(t *testing.T) {
	b := encode(t, sample(), nil)
	data := open(t, b).data
	for _, from := range []int64{4, 20} {
		if _, err := NewFile(broken{bytes.NewReader(b), from}, int64(len(b))); !errors.Is(err, errBroken) {
			t.Errorf("readable up to %d: %v", from, err)
		}
	}
	f, err := NewFile(broken{bytes.NewReader(b), data + 3}, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read(sample()[0].Name); !errors.Is(err, errBroken) {
		t.Errorf("readable up to the data: %v", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	a := raw.FromFloat32("a", []int{1}, []float32{1})
	for name, ts := range map[string][]raw.Tensor{
		"twice":    {a, a},
		"latin1":   {raw.FromFloat32("\xe9", []int{1}, []float32{1})},
		"metadata": {raw.FromFloat32(metadata, []int{1}, []float32{1})},
		"length":   {raw.FromFloat32("b", []int{3}, []float32{1})},
	} {
		var b bytes.Buffer
		if err := Write(&b, ts, nil); err == nil || b.Len() != 0 {
			t.Errorf("%s: error %v after %d bytes, want an error before the first", name, err, b.Len())
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
	var b bytes.Buffer
	if err := Write(&b, sample(), map[string]string{"k": "v"}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(file(`{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}`, "1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s *File
		var err error
		within(t, len(b), 64, func() { s, err = NewFile(bytes.NewReader(b), int64(len(b))) })
		if err != nil {
			return
		}
		var total int
		for i := range s.Entries {
			x, err := s.Read(s.Entries[i].Name)
			if err != nil {
				continue
			}
			if err := x.Check(); err != nil {
				t.Fatal(err)
			}
			total += len(x.Data)
		}
		if total > len(b) {
			t.Fatalf("%d bytes of tensors out of a file of %d", total, len(b))
		}
	})
}
