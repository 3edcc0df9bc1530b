package checkpoint_test

import (
	"fmt"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/checkpoint/faultfs"
	"github.com/contraflow/contraflow/io/raw"
)

// A save that dies half way leaves the one before it to go on from.
func Example() {
	disk := &faultfs.Mem{} // checkpoint.Disk{} in a real run
	weights := []raw.Tensor{raw.FromFloat32("encoder.module.fc.weight", []int{2}, []float32{1, 2})}
	if _, err := checkpoint.Save(disk, "run", &checkpoint.State{Step: 100, Tensors: weights}, checkpoint.Options{Keep: 3}); err != nil {
		fmt.Println(err)
		return
	}
	dying := &faultfs.FS{Under: disk, Before: faultfs.CrashAt(7)}
	_, err := checkpoint.Save(dying, "run", &checkpoint.State{Step: 200, Tensors: weights}, checkpoint.Options{Keep: 3})
	fmt.Println(err)

	path, err := checkpoint.Latest(disk, "run")
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := checkpoint.Load(disk, path)
	fmt.Println(path, s.Step, s.Tensor("encoder.module.fc.weight").Float32s(), err)
	// Output:
	// save step 200 to run: tensors.safetensors: faultfs: the process is gone: checkpoints saved before are not affected
	// run/step-000000100 100 [1 2] <nil>
}
