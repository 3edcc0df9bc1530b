package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Products of bfloat16 are exact in float32: of values that bfloat16 has, convolutions in pairs and their gradients are what the
// definition gives, and the same bits for any number of threads. Rows of odd length leave pairs that are half empty.
func TestPairs(t *testing.T) {
	for _, c := range []convolution{
		{32, 64, 9, 11, 1, 1, 0}, {64, 32, 7, 7, 1, 2, 0}, {1056, 64, 6, 7, 1, 1, 0}, {64, 1056, 3, 5, 1, 1, 0}, {2048, 32, 7, 7, 1, 1, 0},
		{32, 160, 7, 8, 3, 2, 1}, {96, 32, 9, 7, 3, 1, 1}, {32, 32, 33, 40, 1, 1, 0}, {64, 32, 30, 19, 3, 2, 1}, {32, 32, 1, 1, 3, 1, 1}, {32, 64, 9, 11, 5, 2, 2},
		{64, 96, 2, 2, 1, 2, 0},                          // rows of one pixel: as many pairs as pixels
		{32, 96, 3, 2, 4, 3, 3}, {32, 64, 5, 3, 2, 4, 1}, // pixels that no window has, windows of which most is halo
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			g := c.graph()
			r := rand.New(rand.NewPCG(1, 2))
			random := func(n int) []float32 {
				v := normal(r, n)
				for i := range v {
					v[i], _ = floatsOf(pairOf(v[i], 0))
				}
				return v
			}
			x, dy, w := random(convSamples*g.Nodes[0].Out.Len()), random(convSamples*g.Nodes[1].Out.Len()), random(g.Params[0].Len())
			want := c.define(g.Nodes[1].Out, x, dy, w)
			for _, k := range available() {
				if k.pairs != nil {
					same(t, g, k, true, want, x, dy, w)
				}
			}
			if k := available()[0]; c.kernel == 1 {
				same(t, c.beside(5), k, k.pairs != nil, want, x, dy, w)
			}
		})
	}
}

// Convolutions that are not in pairs are those of a device without: few channels, Winograd's.
func TestPairsElsewhere(t *testing.T) {
	for _, c := range []convolution{{32, 40, 9, 11, 1, 1, 0}, {3, 32, 9, 11, 3, 2, 1}} {
		g := c.graph()
		r := rand.New(rand.NewPCG(3, 4))
		x, dy, w := normal(r, convSamples*g.Nodes[0].Out.Len()), normal(r, convSamples*g.Nodes[1].Out.Len()), normal(r, g.Params[0].Len())
		for _, k := range available() {
			plain, pairs := computed(t, g, k, false, 1, x, dy, w), computed(t, g, k, true, 1, x, dy, w)
			for i := range plain {
				if !slices.Equal(plain[i], pairs[i]) {
					t.Errorf("%s, %+v: result %d differs", k.name, c, i)
				}
			}
		}
	}
}

// A pair is rounded to the nearest, half-way to even; what is no number stays none.
func TestPairOf(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct{ v, want float64 }{
		{1, 1}, {1 + 1.0/256, 1}, {1 + 3.0/256, 1 + 1.0/64}, {1 + 1.0/256 + 1.0/65536, 1 + 1.0/128}, {-3.140625, -3.140625}, {math.MaxFloat32, inf}, {-inf, -inf}, {1e-40, 0},
	} {
		a, b := floatsOf(pairOf(float32(c.v), float32(-c.v)))
		if float64(a) != c.want || float64(b) != -c.want {
			t.Errorf("±%v is the pair %v, %v, want ±%v", c.v, a, b, c.want)
		}
	}
	if a, b := floatsOf(pairOf(math.Float32frombits(0x7f800001), 1)); a == a || b != 1 {
		t.Errorf("the pair of no number and 1 is %v, %v", a, b)
	}
}

// Every instruction that the assembler does not know is the one that its comment names, says binutils.
func TestPairWords(t *testing.T) {
	objdump, err := exec.LookPath("x86_64-linux-gnu-objdump")
	if err != nil {
		t.Skip("Debian: apt-get install binutils-x86-64-linux-gnu")
	}
	text, err := os.ReadFile("kernels_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	var code []byte
	var want []string
	for _, m := range regexp.MustCompile(`LONG \$0x(\w{8}); WORD \$0x(\w{4}) // (\S+) (.*)\n`).FindAllStringSubmatch(string(text), -1) {
		first, err := strconv.ParseUint(m[1], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		second, err := strconv.ParseUint(m[2], 16, 16)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			code = append(code, byte((second<<32|first)>>(8*i)))
		}
		operands := strings.Split(strings.ReplaceAll(m[4], "Z", "zmm"), ", ")
		slices.Reverse(operands)
		want = append(want, strings.ToLower(m[3])+" "+strings.Join(operands, ","))
	}
	if len(want) < 400 || len(want) != strings.Count(string(text), "LONG ") {
		t.Fatalf("%d instructions of %d have a name", len(want), strings.Count(string(text), "LONG "))
	}
	file := filepath.Join(t.TempDir(), "code")
	if err := os.WriteFile(file, code, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(objdump, "-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", "--no-show-raw-insn", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^ +\w+:\t(\S+) +(\S+)`).FindAllStringSubmatch(string(out), -1) {
		got = append(got, m[1]+" "+m[2])
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%d instructions, the first of which are %q, want %d: %q", len(got), got[:min(3, len(got))], len(want), want[:3])
	}
}
