package torch

import (
	"archive/zip"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
)

// WriteOptions change what Write produces. The zero value is what the reference's scripts expect.
type WriteOptions struct {
	// PlainNamespace writes every argparse.Namespace as a dict. torch.load(weights_only=True) refuses the class
	// unless it is told about it (torch.serialization.add_safe_globals, PyTorch 2.4); scripts that
	// read opt.model need the class.
	PlainNamespace bool
	// Name is the archive's folder; empty is "archive", as torch.save names it for a stream.
	Name string
}

// storageAlign is the multiple at which storages start, so that a reader can map them.
const storageAlign = 64

// Write writes v as torch.save does since PyTorch 1.6. Every *Tensor becomes a contiguous one with a storage of
// its own, on the CPU; one *Tensor in two places stays shared. A NumPy scalar becomes a plain number. Tensors of an
// open File are read while they are written, one at a time.
//
// PyTorch 1.13's weights_only=True cannot read a float anywhere in a file; 2.0 and later can.
func Write(w io.Writer, v Value, o WriteOptions) error {
	p := pickler{plain: o.PlainNamespace, keys: make(map[*Tensor]int)}
	p.WriteString("\x80\x02")
	if err := p.value(v); err != nil {
		return fmt.Errorf("pickle: %w", err)
	}
	p.WriteByte('.')
	name := o.Name
	if name == "" {
		name = "archive"
	}
	c := &counter{w: w}
	z := zip.NewWriter(c)
	a := archive{z: z, c: c, name: name}
	a.add("data.pkl", p.Bytes(), 1)
	a.add("byteorder", []byte("little"), 1)
	for i, t := range p.tensors {
		r, err := t.Raw("")
		if err != nil {
			return fmt.Errorf("storage %d: %w", i, err)
		}
		a.add("data/"+strconv.Itoa(i), r.Data, storageAlign)
	}
	a.add("version", []byte("3\n"), 1)
	if a.err != nil {
		return a.err
	}
	return z.Close()
}

// archive adds uncompressed records; the first error sticks.
type archive struct {
	z    *zip.Writer
	c    *counter
	name string
	err  error
}

// add writes one record whose bytes start at a multiple of align.
func (a *archive) add(name string, data []byte, align int) {
	if a.err != nil {
		return
	}
	h := &zip.FileHeader{
		Name: a.name + "/" + name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(data),
		CompressedSize64: uint64(len(data)), UncompressedSize64: uint64(len(data)),
	}
	if align > 1 {
		if a.err = a.z.Flush(); a.err != nil {
			return
		}
		const local, field = 30, 4 // a local header's fixed part, an extra field's tag and length
		start := a.c.n + local + int64(len(h.Name)) + field
		pad := int((int64(align) - start%int64(align)) % int64(align))
		h.Extra = append([]byte{'F', 'B', byte(pad), byte(pad >> 8)}, make([]byte, pad)...) // "FB": PyTorch's own padding tag
	}
	var w io.Writer
	if w, a.err = a.z.CreateRaw(h); a.err == nil {
		_, a.err = w.Write(data)
	}
}

// counter counts what goes through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
