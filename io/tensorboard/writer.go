// Package tensorboard writes scalar summaries that TensorBoard reads: one event file a run, made of records framed by length
// and masked CRC-32C, each an Event message (tensorflow/core/util/event.proto).
package tensorboard

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Scalar is one named value.
type Scalar struct {
	Tag   string
	Value float64 // stored as float32
}

// Writer appends to one event file. It is used by one goroutine.
type Writer struct {
	f   *os.File
	now func() time.Time
}

// Create makes dir and a new event file in it; files of earlier parts of the run stay, and TensorBoard joins them.
func Create(dir string) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	for n := 0; ; n++ {
		name := fmt.Sprintf("events.out.tfevents.%d.%s.%d.%d", time.Now().Unix(), host, os.Getpid(), n)
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if os.IsExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		w := &Writer{f: f, now: time.Now}
		return w, w.event(0, func(b []byte) []byte {
			b = protowire.AppendTag(b, 3, protowire.BytesType)
			return protowire.AppendString(b, "brain.Event:2")
		})
	}
}

// Write appends scalars that belong to one step.
func (w *Writer) Write(step int, scalars ...Scalar) error {
	return w.event(step, func(b []byte) []byte {
		var summary []byte
		for _, s := range scalars {
			var v []byte
			v = protowire.AppendTag(v, 1, protowire.BytesType)
			v = protowire.AppendString(v, s.Tag)
			v = protowire.AppendTag(v, 2, protowire.Fixed32Type)
			v = protowire.AppendFixed32(v, math.Float32bits(float32(s.Value)))
			summary = protowire.AppendTag(summary, 1, protowire.BytesType)
			summary = protowire.AppendBytes(summary, v)
		}
		b = protowire.AppendTag(b, 5, protowire.BytesType)
		return protowire.AppendBytes(b, summary)
	})
}

// Close closes the file.
func (w *Writer) Close() error { return w.f.Close() }

// event writes one record: an Event with wall time, step and what the caller adds.
func (w *Writer) event(step int, what func(b []byte) []byte) error {
	var b []byte
	b = protowire.AppendTag(b, 1, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, math.Float64bits(float64(w.now().UnixNano())/1e9))
	b = protowire.AppendTag(b, 2, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(step))
	_, err := w.f.Write(frame(what(b)))
	return err
}

// frame is a TFRecord: length, checksum of the length, data, checksum of the data.
func frame(data []byte) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	out = binary.LittleEndian.AppendUint32(out, masked(out))
	out = append(out, data...)
	return binary.LittleEndian.AppendUint32(out, masked(data))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the CRC-32C of data, rotated and shifted so that checksums of data that holds checksums stay good.
func masked(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}
