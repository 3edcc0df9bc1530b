//go:build !((linux || darwin) && (amd64 || arm64) && !static)

package jpeg

import (
	"errors"

	"github.com/contraflow/contraflow/ops/pixel"
)

// turbo stands in where libraries cannot be loaded while the program runs.
type turbo struct{}

func loadTurbo() (*turbo, error) {
	return nil, errors.New("this build cannot load libraries")
}

func (*turbo) decode(*pixel.Picture, []byte) error {
	return errors.New("this build cannot load libraries")
}
