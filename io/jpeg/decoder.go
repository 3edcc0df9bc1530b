package jpeg

import (
	"errors"
	"fmt"
	"sync"

	"github.com/contraflow/contraflow/ops/pixel"
)

// MaxPixels bounds what is decoded: a header that promises more is refused before anything is allocated. It is where
// Pillow raises its DecompressionBombError.
const MaxPixels = 178956970

// Above bombPixels a byte of the file must hold fewer than bombRatio pixels: deflate reaches 1032 bytes of eight.
const bombPixels, bombRatio = 1 << 24, 10000

// Decoder turns encoded bytes into pictures. It is safe for concurrent use.
type Decoder struct {
	name  string
	turbo *turbo // nil: not asked for, or not there
	pool  sync.Pool
}

// work is what one decode borrows.
type work struct {
	reader  reader
	planes  pixel.Planar
	picture pixel.Picture
}

// Open chooses the decoder of JPEG files: "turbo" is libjpeg-turbo and an error without it, "go" is this package's own, "auto" is
// the faster one, as far as it was measured (on amd64): ours where it has vector kernels, for it decodes no more than the region
// that is asked for, else turbo where the machine has it. All give the same pixels.
func Open(mode string) (*Decoder, error) {
	d := &Decoder{name: "go"}
	d.pool.New = func() any { return new(work) }
	switch mode {
	case "go":
	case "auto", "":
		if vector() {
			break
		}
		if t, err := loadTurbo(); err == nil {
			d.name, d.turbo = "turbo", t
		}
	case "turbo":
		t, err := loadTurbo()
		if err != nil {
			return nil, fmt.Errorf("--decoder turbo: %w: install libjpeg-turbo (Debian: apt-get install libturbojpeg0) or use --decoder go", err)
		}
		d.name, d.turbo = "turbo", t
	default:
		return nil, fmt.Errorf("--decoder %q: choose auto, turbo or go", mode)
	}
	return d, nil
}

// Name is "turbo" or "go".
func (d *Decoder) Name() string { return d.name }

// Decode decodes data, of any known format, into dst as RGB, as Pillow's convert("RGB") does: grey pictures are spread over the
// three channels, CMYK is converted, transparency is dropped, the orientation of EXIF is ignored but that of a TIFF is not.
func (d *Decoder) Decode(dst *pixel.Picture, data []byte) error {
	w := d.pool.Get().(*work)
	defer d.pool.Put(w)
	if !isJPEG(data) {
		return decodeOther(dst, data)
	}
	if d.turbo != nil {
		return d.fast(w, dst, data)
	}
	err := w.decode(&w.planes, data, nil)
	if errors.Is(err, errForeign) {
		return d.foreign(w, dst, data)
	}
	if err != nil {
		return err
	}
	w.planes.Join(dst)
	return nil
}

// Region decodes the part of a picture that choose picks when it is told the size of the whole: the same pixels that Decode
// gives there. Where the format allows it nothing else is computed.
func (d *Decoder) Region(dst *pixel.Planar, data []byte, choose func(w, h int) pixel.Box) error {
	w := d.pool.Get().(*work)
	defer d.pool.Put(w)
	if isJPEG(data) && d.turbo == nil {
		if err := w.decode(dst, data, choose); !errors.Is(err, errForeign) {
			return err
		}
		if err := d.foreign(w, &w.picture, data); err != nil {
			return err
		}
	} else if isJPEG(data) {
		if err := d.fast(w, &w.picture, data); err != nil {
			return err
		}
	} else if err := decodeOther(&w.picture, data); err != nil {
		return err
	}
	dst.Split(&w.picture, choose(w.picture.W, w.picture.H))
	return nil
}

func isJPEG(data []byte) bool { return len(data) > 2 && data[0] == 0xff && data[1] == markSOI }

// decode is the decoder of this package.
func (w *work) decode(dst *pixel.Planar, data []byte, choose func(w, h int) pixel.Box) error {
	r := &w.reader
	r.reset(data)
	defer func() { r.data = nil }()
	if err := r.header(); err != nil {
		return err
	}
	if err := r.survey(); err != nil {
		return err
	}
	box := pixel.Box{W: r.w, H: r.h}
	if choose != nil {
		box = choose(r.w, r.h)
	}
	if err := r.decode(box); err != nil {
		return err
	}
	r.render(dst, box)
	return nil
}

// fast decodes with libjpeg-turbo; what its RGB output cannot do, CMYK, is left to ours, and so are files without their end marker, of
// which it does not tell whether all pixels are there.
func (d *Decoder) fast(w *work, dst *pixel.Picture, data []byte) error {
	r := &w.reader
	r.reset(data)
	defer func() { r.data = nil }()
	err := r.header()
	if err == nil && len(r.comps) < 4 {
		err = r.survey()
	}
	switch {
	case errors.Is(err, errForeign):
		return d.foreign(w, dst, data)
	case err != nil:
		return err
	case len(r.comps) == 4 || r.endless:
		if err = w.decode(&w.planes, data, nil); errors.Is(err, errForeign) {
			return d.foreign(w, dst, data)
		}
		if err == nil {
			w.planes.Join(dst)
		}
		return err
	}
	return d.turbo.decode(dst, data)
}

// foreign decodes the kinds of JPEG that are not ours, arithmetic coding and the like, by what else the machine has.
func (d *Decoder) foreign(w *work, dst *pixel.Picture, data []byte) error {
	r := &w.reader
	r.reset(data)
	defer func() { r.data = nil }()
	for m, body := byte(markSOI), []byte(nil); m != markSOS; {
		var err error
		if m, body, err = r.marker(); err != nil {
			return err
		}
		if m >= markSOF0 && m <= 0xcf && m != markDHT && m != markDAC && len(body) > 5 && body[5] == 4 {
			return errors.New("a CMYK jpeg with arithmetic coding, more than 8 bits or unfinished scans: want a baseline or finished progressive one")
		}
	}
	t, err := loadTurbo()
	if err != nil {
		return errors.New("arithmetic, lossless, 12-bit or unfinished progressive jpeg: libjpeg-turbo would be needed")
	}
	if !r.endAhead() {
		return errTruncated
	}
	return t.decode(dst, data)
}

// checkSize refuses sizes before anything is allocated for them.
func checkSize(w, h, bytes int) error {
	if w < 1 || h < 1 {
		return fmt.Errorf("a picture of %d×%d pixels", w, h)
	}
	if w > MaxPixels/h {
		return fmt.Errorf("%d×%d pixels: more than the %d that are decoded", w, h, MaxPixels)
	}
	if n := w * h; n > bombPixels && n/bombRatio > bytes {
		return fmt.Errorf("%d×%d pixels in %d bytes: taken for a decompression bomb", w, h, bytes)
	}
	return nil
}
