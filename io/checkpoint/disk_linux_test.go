package checkpoint

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// A file holds what was written to it whatever its length and that of the writes, and also where the file system refuses to go past
// its cache when it is asked or only when it is written to.
func TestDirectWrites(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	content := make([]byte, 3*directPiece+directAlign+5)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	for name, prepare := range map[string]func(d *direct){
		"direct":  func(*direct) {},
		"refused": func(d *direct) { d.refuse = true },
		"late":    func(d *direct) { d.piece = make([]byte, directPiece+1)[1:] }, // an address that is refused when it is written from
	} {
		for _, size := range []int{0, 1, directAlign, directPiece - 1, directPiece, directPiece + 1, 2 * directPiece, len(content)} {
			path := filepath.Join(t.TempDir(), "f")
			f, err := Disk{}.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			prepare(f.(*direct))
			for at := 0; at < size; {
				n := min(1+random.IntN(2*directPiece), size-at) // tensors are larger than a piece
				if k, err := f.Write(content[at : at+n]); k != n || err != nil {
					t.Fatalf("%s, %d bytes: wrote %d of %d: %v", name, size, k, n, err)
				}
				at += n
			}
			if size%2 == 0 { // Close writes the rest too
				err = f.Sync()
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, content[:size]) {
				t.Errorf("%s: a file of %d bytes came back as %d other ones", name, size, len(got))
			}
		}
	}
}

// What is written to a full disk is an error, not a short file.
func TestDirectFull(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, directPiece} {
		f, err := Disk{}.Create("/dev/full")
		if err != nil {
			t.Skip(err)
		}
		_, err = f.Write(make([]byte, size))
		if size == directPiece && err == nil {
			t.Error("a piece was written to a full device, and Write tells of no error")
		}
		if err == nil {
			err = f.Sync()
		}
		if err == nil {
			t.Errorf("writing %d bytes to a full device succeeded", size)
		}
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}
