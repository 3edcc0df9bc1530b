package safetensors_test

import (
	"bytes"
	"fmt"

	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/io/safetensors"
)

// One tensor of a file is read; its checksum is verified on the way.
func Example() {
	var file bytes.Buffer
	rows := raw.FromFloat32("memory", []int{2, 2}, []float32{1, 0, 0, 1})
	if err := safetensors.Write(&file, []raw.Tensor{rows}, map[string]string{"format": "pt"}); err != nil {
		fmt.Println(err)
		return
	}
	f, err := safetensors.NewFile(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		fmt.Println(err)
		return
	}
	t, err := f.Read("memory")
	fmt.Println(t.Shape, t.Float32s(), err)
	// Output: [2 2] [1 0 0 1] <nil>
}
