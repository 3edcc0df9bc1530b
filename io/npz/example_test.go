package npz_test

import (
	"bytes"
	"fmt"

	"github.com/contraflow/contraflow/io/npz"
	"github.com/contraflow/contraflow/io/raw"
)

// An archive that numpy.load opens.
func Example() {
	var file bytes.Buffer
	if err := npz.Write(&file, []raw.Tensor{raw.FromInt64("labels", []int{3}, []int64{2, 0, 1})}); err != nil {
		fmt.Println(err)
		return
	}
	f, err := npz.NewFile(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		fmt.Println(err)
		return
	}
	t, err := f.Read("labels")
	fmt.Println(f.Names, t.DType, t.Shape, t.Int(0), err)
	// Output: [labels] int64 [3] 2 <nil>
}
