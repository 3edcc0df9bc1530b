package cpu_test

import (
	"testing"

	"github.com/contraflow/contraflow/ops/opstest"
)

func TestConform(t *testing.T) { opstest.Run(t, open(t, 2)) }
