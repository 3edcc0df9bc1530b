//go:build !((linux || darwin) && (amd64 || arm64)) || static

package jpeg

func transcode([]byte) ([]byte, error) { return nil, ErrNoTranscoder }
