package flows_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/opstest/golden"
	"github.com/contraflow/contraflow/ops/pixel"
)

// The generator that fills what is not stored, bit for bit.
func TestGoldenHash(t *testing.T) {
	f := open(t, "00_hash.npz")
	pairs := f.Arrays["seeds_tensors"]
	for r := range pairs.Shape[0] {
		s, tensor := uint64(pairs.I[2*r]), uint64(pairs.I[2*r+1])
		for i := range uint64(8) {
			h := golden.Hash(s, tensor, i)
			at := r*8 + int(i)
			if int64(h) != f.Arrays["h"].I[at] || golden.Value(s, tensor, i) != f.Arrays["v"].F[at] || int64(h%1000) != f.Arrays["ints_mod_1000"].I[at] {
				t.Fatalf("seed %d tensor %d index %d", s, tensor, i)
			}
		}
	}
	note(t, "hash", "h", 0, 0)
	base := func(name string) (seed, tensor uint64) {
		doc := f.Doc(name)
		return uint64(stated(t, f, doc, "seed")), uint64(stated(t, f, doc, "t"))
	}
	for name, a := range f.Arrays {
		param, ok := strings.CutPrefix(name, "param:")
		if !ok {
			continue
		}
		v := make([]float32, a.Len())
		seed, tensor := base(name)
		golden.Param(v, seed, tensor, param, a.Shape)
		note(t, "hash", name, maxDiff(v, a.F), 0)
	}
	image := f.Arrays["image_input"]
	seed, tensor := base("image_input")
	s := image.Shape
	note(t, "hash", "image_input", maxDiff(golden.Image(seed, tensor, s[0], s[1], s[2], s[3]), image.F), 0)
	bank := f.Arrays["mem_init"]
	seed, tensor = base("mem_init")
	note(t, "hash", "mem_init", maxDiff(golden.Memory(seed, tensor, bank.Shape[0], bank.Shape[1]), bank.F), 0)
	perms := f.Arrays["perm_13"]
	for r := range pairs.Shape[0] {
		for i, v := range golden.Perm(uint64(pairs.I[2*r]), uint64(pairs.I[2*r+1]), perms.Shape[1]) {
			if int64(v) != perms.I[r*perms.Shape[1]+i] {
				t.Fatalf("permutation of seed %d tensor %d: place %d is %d", pairs.I[2*r], pairs.I[2*r+1], i, v)
			}
		}
	}
	note(t, "hash", "perm_13", 0, 0)
}

// stated reads "name=12" or "name = 12" out of a file's prose.
func stated(t *testing.T, f *golden.File, text, name string) int {
	t.Helper()
	m := regexp.MustCompile(`\b` + name + `\s*=\s*(\d+)`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("%s: %q does not say what %s is", f.Name, text, name)
	}
	v, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Every colour space of the file, raw and normalised, and the pass that training uses.
func TestGoldenColour(t *testing.T) {
	f := open(t, "01_colour.npz")
	compared := 0
	for name := range f.Arrays {
		parts := strings.Split(name, ".")
		if strings.HasSuffix(name, "__f64") || len(parts) < 2 || (parts[1] == "rgb" && len(parts) == 2) {
			continue
		}
		rgb := f.Arrays[parts[0]+".rgb"]
		if rgb == nil {
			t.Fatalf("%s has no pixels %s.rgb", f.Name, parts[0])
		}
		space := parts[1]
		if space == "rgbcie" {
			space = "CIERGB"
		}
		s, err := pixel.LookupSpace(space)
		if err != nil {
			t.Fatal(err)
		}
		h, w := rgb.Shape[0], rgb.Shape[1]
		p := &pixel.Picture{W: w, H: h}
		for _, v := range rgb.I {
			p.Pix = append(p.Pix, byte(v))
		}
		kase := "colour " + s.Name
		if len(parts) == 3 { // normalised, CHW
			out := make([]float32, 3*h*w)
			s.Render([3][]float32{out[:h*w], out[h*w : 2*h*w], out[2*h*w:]}, p)
			compare(t, f, kase, name, out)
		} else {
			var out []float32
			for i := range h * w {
				c := s.Convert(p.Pix[3*i], p.Pix[3*i+1], p.Pix[3*i+2])
				out = append(out, float32(c[0]), float32(c[1]), float32(c[2]))
			}
			compare(t, f, kase, name, out)
		}
		compared++
	}
	if compared == 0 {
		t.Fatalf("%s: nothing was compared", f.Name)
	}
}

var stepArray = regexp.MustCompile(`^(p|buf|m|v)(\d+)_after(\d+)$`)

// The optimisers over several steps; the hyper-parameters are the decimal ones behind the float32 values of the file.
func TestGoldenOptimisers(t *testing.T) {
	f := open(t, "02d_optim.npz")
	for _, c := range cases(t, f) {
		at := func(s string) *golden.Array { return f.Arrays[c+"."+s] }
		var hyper []float64
		for _, v := range at("hyper").F {
			d, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
			if err != nil {
				t.Fatal(err)
			}
			hyper = append(hyper, d)
		}
		kase := "optimiser " + c
		for tensor := 0; at("p"+strconv.Itoa(tensor)) != nil; tensor++ {
			k := strconv.Itoa(tensor)
			p := append([]float32(nil), at("p"+k).F...)
			m, v := make([]float32, len(p)), make([]float32, len(p))
			lr := hyper[0]
			for step := 0; at("g"+strconv.Itoa(step)+"_"+k) != nil; step++ {
				g := at("g" + strconv.Itoa(step) + "_" + k).F
				if hyper[5] == float64(step) {
					lr *= hyper[6]
				}
				if strings.HasPrefix(c, "adam") {
					ops.Adam{LR: lr, Beta1: hyper[1], Beta2: hyper[2], Eps: hyper[3], Decay: hyper[4]}.Step(p, g, m, v, step+1)
				} else {
					ops.SGD(p, g, m, lr, hyper[1], hyper[4])
				}
				for name, got := range map[string][]float32{"p": p, "buf": m, "m": m, "v": v} {
					full := c + "." + name + k + "_after" + strconv.Itoa(step+1)
					if name == "buf" && strings.HasPrefix(c, "adam") || f.Arrays[full] == nil {
						continue
					}
					if !stepArray.MatchString(strings.TrimPrefix(full, c+".")) {
						t.Fatal(full)
					}
					compare(t, f, kase, full, got)
				}
			}
		}
	}
}
