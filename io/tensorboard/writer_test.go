package tensorboard

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// fields reads one message into field number → raw values.
func fields(t *testing.T, b []byte) map[protowire.Number][]any {
	t.Helper()
	out := map[protowire.Number][]any{}
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal("a tag that is no tag")
		}
		b = b[n:]
		var v any
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			v, n = protowire.ConsumeFixed32(b)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(b)
		default:
			v, n = protowire.ConsumeBytes(b)
		}
		if n < 0 {
			t.Fatalf("field %d cannot be read", num)
		}
		out[num] = append(out[num], v)
		b = b[n:]
	}
	return out
}

// records takes a file apart and checks both checksums of every record.
func records(t *testing.T, b []byte) (out [][]byte) {
	t.Helper()
	for len(b) > 0 {
		n := binary.LittleEndian.Uint64(b)
		if masked(b[:8]) != binary.LittleEndian.Uint32(b[8:]) {
			t.Fatal("checksum of a length")
		}
		data := b[12:][:n]
		if masked(data) != binary.LittleEndian.Uint32(b[12+n:]) {
			t.Fatal("checksum of a record")
		}
		out, b = append(out, data), b[16+n:]
	}
	return out
}

func TestWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(3, Scalar{"l_loss", 1.5}, Scalar{"l_prob", 0.25}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v: %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	events := records(t, raw)
	if len(events) != 2 {
		t.Fatalf("%d events, want the version and one summary", len(events))
	}
	if v := fields(t, events[0])[3]; len(v) != 1 || string(v[0].([]byte)) != "brain.Event:2" {
		t.Errorf("first event %v", v)
	}
	e := fields(t, events[1])
	if e[2][0].(uint64) != 3 {
		t.Errorf("step %v, want 3", e[2])
	}
	values := fields(t, e[5][0].([]byte))[1]
	for i, want := range []Scalar{{"l_loss", 1.5}, {"l_prob", 0.25}} {
		v := fields(t, values[i].([]byte))
		if string(v[1][0].([]byte)) != want.Tag || math.Float32frombits(v[2][0].(uint32)) != float32(want.Value) {
			t.Errorf("value %d: %v, want %v", i, v, want)
		}
	}
}

// The checksum of the format's own description: the 32 zero bytes of RFC 3720 have CRC-32C 8a9136aa.
func TestMasked(t *testing.T) {
	const crc = 0x8a9136aa
	rot := uint32(crc>>15 | crc<<17&0xffffffff)
	if got, want := masked(make([]byte, 32)), rot+0xa282ead8; got != want {
		t.Errorf("masked %08x, want %08x", got, want)
	}
}
