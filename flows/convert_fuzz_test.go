package flows

import (
	"bytes"
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/torch"
)

// FuzzPth takes whole .pth files through everything that a resume, an inspection and a conversion do with them: no panic, no
// error of more than one line, no memory that the file does not back.
func FuzzPth(f *testing.F) {
	for _, plain := range []bool{false, true} {
		c, err := toPth(mocoState(f))
		if err != nil {
			f.Fatal(err)
		}
		var b bytes.Buffer
		if err := torch.Write(&b, c.Value(), torch.WriteOptions{PlainNamespace: plain}); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := throughPth(b)
		runtime.ReadMemStats(&after)
		// The pickle machine's own budget is 64 MiB of objects, and 16 times the file in views of its storages.
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(512<<20+64*len(b)); got > limit {
			t.Fatalf("allocated %d bytes for a file of %d, limit %d", got, len(b), limit)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Fatalf("error of more than one line: %q", err)
		}
	})
}

func throughPth(b []byte) error {
	file, err := torch.NewFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	c, err := file.Checkpoint()
	if err != nil {
		return err
	}
	s := &checkpoint.State{Meta: map[string]json.RawMessage{}}
	if err := fromPth(s, c); err != nil {
		return err
	}
	InspectState("", s)
	if o, err := optionsOf(s); err == nil {
		changes(o, Defaults(o.Method))
		modelOf(o)
	}
	if c, err = toPth(s); err != nil {
		return err
	}
	return torch.Write(&bytes.Buffer{}, c.Value(), torch.WriteOptions{})
}
