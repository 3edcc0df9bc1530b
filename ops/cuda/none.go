//go:build !cuda

package cuda

import "github.com/contraflow/contraflow/ops"

// Built reports whether the program was built with the tag cuda.
const Built = false

// Open returns ErrNotBuilt.
func Open(Options) (ops.Device, error) { return nil, ErrNotBuilt }

// Available is the reason why no device can be opened: ErrNotBuilt.
func Available() error { return ErrNotBuilt }
