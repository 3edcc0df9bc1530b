package flows

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"sort"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/raw"
)

// Diff compares two states to the bit: the cursor, and every tensor's presence, type, shape and bytes, the bank
// included. It returns one line for each difference, none when the states are identical. Options and meters are not
// compared: two runs that only differ in how often they print are the same run. See [DiffOptions].
func Diff(a, b *checkpoint.State) []string {
	var out []string
	if a.Step != b.Step || a.Epoch != b.Epoch {
		out = append(out, fmt.Sprintf("cursor: epoch %d step %d, and epoch %d step %d", a.Epoch, a.Step, b.Epoch, b.Step))
	}
	other := make(map[string]*raw.Tensor, len(b.Tensors))
	for i := range b.Tensors {
		other[b.Tensors[i].Name] = &b.Tensors[i]
	}
	for i := range a.Tensors {
		x := &a.Tensors[i]
		y := other[x.Name]
		delete(other, x.Name)
		if y == nil {
			out = append(out, x.Name+": only in the first")
		} else if line := diffTensor(x, y); line != "" {
			out = append(out, x.Name+": "+line)
		}
	}
	for i := range b.Tensors {
		if name := b.Tensors[i].Name; other[name] != nil {
			out = append(out, name+": only in the second")
		}
	}
	return out
}

// diffTensor is "" for equal bytes.
func diffTensor(x, y *raw.Tensor) string {
	if x.DType != y.DType || shapeText(x.Shape) != shapeText(y.Shape) {
		return fmt.Sprintf("%v %s, and %v %s", x.DType, shapeText(x.Shape), y.DType, shapeText(y.Shape))
	}
	if bytes.Equal(x.Data, y.Data) {
		return ""
	}
	size := x.DType.Size()
	first, count, most := -1, 0, 0.0
	for i := range x.Len() {
		if bytes.Equal(x.Data[i*size:(i+1)*size], y.Data[i*size:(i+1)*size]) {
			continue
		}
		if first < 0 {
			first = i
		}
		count++
		if d := math.Abs(x.At(i) - y.At(i)); d > most || math.IsNaN(d) {
			most = d
		}
	}
	return fmt.Sprintf("%d of %d values differ, by up to %.3g; the first at %s: %v and %v",
		count, x.Len(), most, shapeText(position(first, x.Shape)), x.At(first), y.At(first))
}

// position is the index along every dimension of element i.
func position(i int, shape []int) []int {
	at := make([]int, len(shape))
	for d := len(shape) - 1; d >= 0; d-- {
		at[d] = i % shape[d]
		i /= shape[d]
	}
	return at
}

// DiffOptions compares what two states say besides tensors and cursor, one line for each field that differs, as
// "options.Net.Model: alexnet, and resnet50v1".
func DiffOptions(a, b *checkpoint.State) []string {
	x, y := make(map[string]string), make(map[string]string)
	for k, v := range a.Meta {
		flatten(k, v, x)
	}
	for k, v := range b.Meta {
		flatten(k, v, y)
	}
	var out []string
	for k, v := range x {
		if w, ok := y[k]; !ok {
			out = append(out, fmt.Sprintf("%s: %s, and nothing", k, v))
		} else if v != w {
			out = append(out, fmt.Sprintf("%s: %s, and %s", k, v, w))
		}
	}
	for k, w := range y {
		if _, ok := x[k]; !ok {
			out = append(out, fmt.Sprintf("%s: nothing, and %s", k, w))
		}
	}
	sort.Strings(out)
	return out
}

// flatten puts the leaves of a JSON value into out under their paths.
func flatten(path string, text json.RawMessage, out map[string]string) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) != nil || len(fields) == 0 {
		out[path] = compact(text)
		return
	}
	for k, v := range fields {
		flatten(path+"."+k, v, out)
	}
}

// compact is text without white space.
func compact(text json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return string(text)
	}
	return b.String()
}
