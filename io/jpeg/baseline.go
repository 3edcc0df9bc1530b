package jpeg

import "errors"

// ErrNoTranscoder says that files cannot be made baseline without loss: libjpeg-turbo is not there.
var ErrNoTranscoder = errors.New("libjpeg-turbo was not found")

// Progressive says whether data is a progressive JPEG, by its first frame header.
func Progressive(data []byte) bool {
	if len(data) < 4 || data[0] != 0xFF || data[1] != 0xD8 {
		return false
	}
	for at := 2; at+3 < len(data) && data[at] == 0xFF; {
		marker := data[at+1]
		switch {
		case marker == 0xFF: // filling
			at++
			continue
		case marker == 0xC4 || marker == 0xC8 || marker == 0xCC: // tables
		case marker >= 0xC0 && marker <= 0xCF:
			return marker == 0xC2 || marker == 0xC6 || marker == 0xCA || marker == 0xCE
		case marker == 0xDA || marker == 0xD9:
			return false
		}
		at += 2 + int(data[at+2])<<8 + int(data[at+3])
	}
	return false
}

// Baseline writes a progressive JPEG in one pass over its coefficients: the same pixels, decoded three times as fast. Other data comes
// back as it is. Without libjpeg-turbo it returns ErrNoTranscoder. Some files that decode have no baseline twin, because their scans are
// unfinished or their damaged coefficients cannot be written: that is an error, too.
func Baseline(data []byte) ([]byte, error) {
	if !Progressive(data) {
		return data, nil
	}
	var r reader
	r.reset(data)
	if err := r.header(); err != nil {
		return nil, err
	}
	if err := r.survey(); err != nil {
		return nil, err
	}
	return transcode(data)
}
