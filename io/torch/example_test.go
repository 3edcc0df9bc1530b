package torch_test

import (
	"bytes"
	"fmt"

	"github.com/contraflow/contraflow/io/raw"
	"github.com/contraflow/contraflow/io/torch"
)

// A state dict is written, and read back as a checkpoint whose names have lost their wrappers.
func Example() {
	weight, err := torch.FromRaw(raw.FromFloat32("", []int{2, 2}, []float32{1, 2, 3, 4}))
	if err != nil {
		fmt.Println(err)
		return
	}
	c := torch.Checkpoint{
		Options: torch.NewDict(torch.Namespace).Set("model", "tiny"),
		Prefix:  torch.ReferencePrefix,
		Model:   torch.StateDict{{Name: "fc.weight", Tensor: weight}},
		Epoch:   240,
	}
	var file bytes.Buffer
	if err := torch.Write(&file, c.Value(), torch.WriteOptions{}); err != nil {
		fmt.Println(err)
		return
	}

	f, err := torch.NewFile(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, t := range f.Tensors() {
		fmt.Println(t.Name, t.DType, t.Shape)
	}
	back, err := f.Checkpoint()
	if err != nil {
		fmt.Println(err)
		return
	}
	values, err := back.Model.Lookup("fc.weight").Float32()
	fmt.Println(back.Epoch, values, err)
	// Output:
	// model/encoder.module.fc.weight float32 [2 2]
	// 240 [1 2 3 4] <nil>
}
