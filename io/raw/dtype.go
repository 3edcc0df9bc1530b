package raw

import "fmt"

// DType is the type of one element.
type DType uint8

// The element types that checkpoints of encoders contain. The zero DType is invalid.
const (
	Float32 DType = 1 + iota
	Float64
	Float16  // IEEE binary16
	BFloat16 // the upper half of a float32
	Int64
	Int32
	Int16
	Int8
	Uint8
	Bool // one byte, 0 or 1
)

var dtypes = [...]struct {
	name string
	size int
}{
	Float32: {"float32", 4}, Float64: {"float64", 8}, Float16: {"float16", 2}, BFloat16: {"bfloat16", 2},
	Int64: {"int64", 8}, Int32: {"int32", 4}, Int16: {"int16", 2}, Int8: {"int8", 1}, Uint8: {"uint8", 1}, Bool: {"bool", 1},
}

// Valid reports whether d is one of the constants.
func (d DType) Valid() bool { return d >= Float32 && int(d) < len(dtypes) }

// Size is the bytes of one element.
func (d DType) Size() int {
	if !d.Valid() {
		panic(fmt.Sprintf("raw: invalid element type %d", d))
	}
	return dtypes[d].size
}

// String is the name NumPy and PyTorch use: "float32".
func (d DType) String() string {
	if !d.Valid() {
		return fmt.Sprintf("dtype(%d)", uint8(d))
	}
	return dtypes[d].name
}

// Parse finds the type with the given String.
func Parse(name string) (DType, error) {
	for d := Float32; d.Valid(); d++ {
		if dtypes[d].name == name {
			return d, nil
		}
	}
	return 0, fmt.Errorf("unknown element type %q", name)
}

// Float reports whether d is a floating-point type.
func (d DType) Float() bool { return d >= Float32 && d <= BFloat16 }
