package shard

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// images are the extensions of members that are taken for the image of a sample. With .zst behind them the member is
// compressed by itself.
var images = map[string]bool{"jpg": true, "jpeg": true, "png": true, "ppm": true, "pgm": true, "bmp": true, "tif": true, "tiff": true, "webp": true}

func isImage(ext string) bool { return images[strings.ToLower(strings.TrimSuffix(ext, ".zst"))] }

// split takes a member's name apart at the first dot of its last part.
func split(name string) (key, ext string) {
	dir, base := path.Split(strings.TrimPrefix(name, "./"))
	stem, ext, _ := strings.Cut(base, ".")
	return dir + stem, ext
}

// dotted says whether a member is an image with more dots in its name than one: its key has been cut short. Names that start with a dot
// are no members of samples.
func dotted(key, ext string) bool {
	ext = strings.TrimSuffix(ext, ".zst")
	at := strings.LastIndexByte(ext, '.')
	return at >= 0 && isImage(ext[at+1:]) && key != "" && !strings.HasSuffix(key, "/")
}

// maxLabel bounds a .cls member.
const maxLabel = 4096

// record is what tar fills its file up to, 20 blocks: the zeros behind the mark of the end are fewer. Other writers add less or none.
const record = 20 * 512

// padding checks what lies behind the mark of the end: zeros, and no more than tar writes. A hole of zeros in a damaged file looks
// like the mark, and all samples behind it would be missing.
func padding(r io.ReaderAt, at, n int64) error {
	rest := make([]byte, min(n-at, record))
	if _, err := io.ReadFull(io.NewSectionReader(r, at, n-at), rest); err != nil {
		return err
	}
	if len(bytes.Trim(rest, "\x00")) > 0 || len(rest) == record {
		return fmt.Errorf("damaged: the tar ends at byte %d of %d, want at most %d zeros behind its end: it has a hole, or several tars were joined", at, n, record-512)
	}
	return nil
}

// scan reads the headers of a tar of n bytes and lists its samples. A sample has the first image among its members; members
// without one are left out, but not silently if it is for the dots in the name of one. A tar that ends early, also without its two blocks of zeros, is an error, and so is one that goes on
// behind them.
func scan(r io.ReaderAt, n int64) (*index, error) {
	x := &index{bytes: n}
	s := io.NewSectionReader(r, 0, n)
	t := tar.NewReader(s)
	var sample struct {
		key, ext, label string
		at, size        int64
		image           bool
		dotted          string
	}
	lost, lostName := 0, ""
	flush := func() error {
		if !sample.image {
			if sample.dotted != "" {
				if lost++; lost == 1 {
					lostName = sample.dotted
				}
			}
			return nil
		}
		sample.image = false
		return x.add(sample.key, sample.ext, sample.label, sample.at, sample.size, 0)
	}
	end := int64(0) // of the last member
	name := ""
	for first := true; ; first = false {
		h, err := t.Next()
		here, _ := s.Seek(0, io.SeekCurrent)
		if errors.Is(err, io.EOF) {
			if here-end < 1024 {
				return nil, fmt.Errorf("truncated: the %d bytes end without the mark of the end, behind %q", n, name)
			}
			if err := padding(r, here, n); err != nil {
				return nil, fmt.Errorf("behind %q: %w", name, err)
			}
			break
		}
		if err != nil {
			if first {
				return nil, fmt.Errorf("not a tar: %w", err)
			}
			return nil, fmt.Errorf("truncated or damaged behind %q: %w", name, err)
		}
		name = h.Name
		if h.Typeflag != tar.TypeReg || sparse(h) {
			end = here
			continue
		}
		if h.Size > n-here {
			return nil, fmt.Errorf("truncated: %q ends at byte %d, the shard at %d", name, here+h.Size, n)
		}
		end = here + (h.Size+511)/512*512
		key, ext := split(h.Name)
		if first || key != sample.key {
			if err := flush(); err != nil {
				return nil, err
			}
			sample.key, sample.label, sample.dotted = key, "", ""
		}
		switch {
		case ext == "cls":
			if h.Size > maxLabel {
				return nil, fmt.Errorf("%q has %d bytes: want a label", name, h.Size)
			}
			text, err := io.ReadAll(t)
			if err != nil {
				return nil, fmt.Errorf("truncated in %q: %w", name, err)
			}
			sample.label = strings.TrimSpace(string(text))
		case isImage(ext) && !sample.image:
			sample.image, sample.ext, sample.at, sample.size = true, ext, here, h.Size
		case sample.dotted == "" && dotted(key, ext):
			sample.dotted = name
		}
	}
	if err := flush(); err != nil {
		return nil, err
	}
	if lost > 0 {
		return nil, fmt.Errorf("%d samples have no image but one with dots in its name, the first %q: WebDataset cuts names at the first dot: rename them, or pack the images with contraflow data pack", lost, lostName)
	}
	return x, nil
}

// sparse files have holes, so that their bytes do not lie in one place.
func sparse(h *tar.Header) bool {
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}
