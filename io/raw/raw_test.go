package raw

import (
	"math"
	"strings"
	"testing"
)

func TestHalf(t *testing.T) {
	// IEEE 754-2008 binary16 values.
	for h, want := range map[uint16]float64{
		0x0000: 0, 0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0400: math.Ldexp(1, -14), 0x0001: math.Ldexp(1, -24),
		0x03ff: math.Ldexp(1023, -24), 0x3555: 0.333251953125, 0x7c00: math.Inf(1), 0xfc00: math.Inf(-1), 0x8001: -math.Ldexp(1, -24),
	} {
		if got := float64(Half(h)); got != want {
			t.Errorf("Half(%#04x) = %v, want %v", h, got, want)
		}
	}
	if got := Half(0x8000); got != 0 || !math.Signbit(float64(got)) {
		t.Errorf("Half(0x8000) = %v, want -0", got)
	}
	if got := Half(0x7e01); !math.IsNaN(float64(got)) {
		t.Errorf("Half(0x7e01) = %v, want NaN", got)
	}
}

func TestConvert(t *testing.T) {
	for _, c := range []struct {
		d    DType
		data []byte
		want []float32
	}{
		{Float32, []byte{0, 0, 128, 63, 0, 0, 0, 192}, []float32{1, -2}},
		{Float64, []byte{0, 0, 0, 0, 0, 0, 0xf0, 0x3f}, []float32{1}},
		{Float16, []byte{0, 0x3c, 0, 0xc0}, []float32{1, -2}},
		{BFloat16, []byte{0x80, 0x3f, 0, 0xc0}, []float32{1, -2}},
		{Int64, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []float32{-1}},
		{Int32, []byte{0xfe, 0xff, 0xff, 0xff}, []float32{-2}},
		{Int16, []byte{0xfd, 0xff}, []float32{-3}},
		{Int8, []byte{0xfc, 4}, []float32{-4, 4}},
		{Uint8, []byte{0xfc}, []float32{252}},
		{Bool, []byte{1, 0}, []float32{1, 0}},
	} {
		x := Tensor{Name: "x", DType: c.d, Shape: []int{len(c.want)}, Data: c.data}
		if err := x.Check(); err != nil {
			t.Fatal(err)
		}
		for i, v := range x.Float32s() {
			if v != c.want[i] || x.At(i) != float64(c.want[i]) {
				t.Errorf("%v[%d] = %v and %v, want %v", c.d, i, v, x.At(i), c.want[i])
			}
		}
		if back, err := Parse(c.d.String()); err != nil || back != c.d {
			t.Errorf("Parse(%v) = %v, %v", c.d, back, err)
		}
	}
	// 2^60+2^36+1 rounds up as float32 only when it is not rounded to float64 first.
	x := FromInt64("x", nil, []int64{1<<60 + 1<<36 + 1})
	if got, want := x.Float32s()[0], float32(math.Ldexp(1+math.Ldexp(1, -23), 60)); got != want {
		t.Errorf("int64 to float32 = %v, want %v", got, want)
	}
	y := FromFloat32("y", []int{2}, []float32{1.5, -3})
	if got := y.Float32s(); got[0] != 1.5 || got[1] != -3 {
		t.Errorf("FromFloat32 round trip = %v", got)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		t    Tensor
		want string
	}{
		{Tensor{Name: "a"}, "not an element type"},
		{Tensor{Name: "a", DType: Int8, Shape: []int{-1}}, "negative or too large"},
		{Tensor{Name: "a", DType: Float32, Shape: []int{1 << 40, 1 << 40}}, "negative or too large"},
		{Tensor{Name: "a", DType: Float32, Shape: []int{math.MaxInt, 2, 0}}, "negative or too large"},
		{Tensor{Name: "a", DType: Float32, Shape: []int{2, 3}, Data: make([]byte, 23)}, "expected 24"},
	} {
		if err := c.t.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Check(%v) = %v, want %q", c.t, err, c.want)
		}
	}
	if n, ok := Count([]int{0, 4}, 4); n != 0 || !ok {
		t.Errorf("Count([0 4]) = %d, %v", n, ok)
	}
}
