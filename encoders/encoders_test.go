package encoders_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cpu"
)

func count(g *ops.Graph) (trainable, entries, tensors int) {
	for _, p := range g.Params {
		entries++
		if p.Role.Trainable() {
			trainable += p.Len()
			tensors++
		}
	}
	return trainable, entries, tensors
}

// The counts are those of the reference's own models.
func TestParameterCounts(t *testing.T) {
	for _, c := range []struct {
		model            string
		total            int
		first, second    int
		entries, tensors int
	}{
		{"alexnet", 29687760, 14840976, 14846784, 92, 50},
		{"resnet18v1", 5686336, 2841600, 2844736, 256, 130},
		{"resnet18v2", 22474944, 11235904, 11239040, 244, 124},
		{"resnet18v3", 89439424, 44718144, 44721280, 256, 130},
		{"resnet50v1", 12058048, 6027456, 6030592, 640, 322},
		{"resnets50", 12058048, 6027456, 6030592, 640, 322},
		{"resnets50v2", 47531200, 23764032, 23767168, 640, 322},
		{"resnet50v3", 188752576, 94374720, 94377856, 640, 322},
		{"resnet101v1", 21580224, 10788544, 10791680, 1252, 628},
		{"resnet101v2", 85515456, 42756160, 42759296, 1252, 628},
		{"resnet101v3", 340480704, 170238784, 170241920, 1252, 628},
		{"resnet50", 23770304, 23770304, 0, 320, 161},
		{"resnet50x2", 94380992, 94380992, 0, 320, 161},
		{"resnet50x4", 376152512, 376152512, 0, 320, 161},
	} {
		m, err := encoders.Lookup(c.model, 128)
		if err != nil {
			t.Fatal(err)
		}
		channels := []int{3}
		if m.Multi {
			channels = []int{1, 2}
		}
		var totals []int
		total, entries, tensors := 0, 0, 0
		for _, ch := range channels {
			g := m.Net.Tower(ch, 224)
			if err := g.Err(); err != nil {
				t.Fatalf("%s: %v", c.model, err)
			}
			n, e, k := count(g)
			totals = append(totals, n)
			total, entries, tensors = total+n, entries+e, tensors+k
		}
		want := []int{c.first}
		if m.Multi {
			want = append(want, c.second)
		}
		if total != c.total || entries != c.entries || tensors != c.tensors || fmt.Sprint(totals) != fmt.Sprint(want) {
			t.Errorf("%s: %d %v parameters, %d entries, %d tensors; want %d %v, %d, %d", c.model, total, totals, entries, tensors, c.total, want, c.entries, c.tensors)
		}
	}
}

func TestShapesAt224(t *testing.T) {
	for _, c := range []struct{ model, layers string }{
		{"alexnet", "[48,27,27] [128,13,13] [192,13,13] [192,13,13] [128,6,6] [2048,1,1] [2048,1,1] [128,1,1]"},
		{"resnet18v1", "[64,56,56] [32,56,56] [64,28,28] [128,14,14] [256,7,7] [256,1,1] [128,1,1]"},
		{"resnet50", "[64,56,56] [256,56,56] [512,28,28] [1024,14,14] [2048,7,7] [2048,1,1] [128,1,1]"},
	} {
		m, err := encoders.Lookup(c.model, 128)
		if err != nil {
			t.Fatal(err)
		}
		g := m.Net.Tower(1, 224)
		var got []string
		for _, mark := range g.Marks() {
			got = append(got, g.Shape(mark.Value).String())
		}
		if s := strings.Join(got, " "); s != c.layers {
			t.Errorf("%s: %s, want %s", c.model, s, c.layers)
		}
	}
}

// Every model builds from 32 pixels on.
func TestSmallImages(t *testing.T) {
	for _, name := range encoders.Names() {
		m, err := encoders.Lookup(name, 128)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{32, 48, 64, 95, 96, 128, 193} {
			if err := m.Net.Tower(1, size).Err(); err != nil {
				t.Errorf("%s at %d pixels: %v", name, size, err)
			}
		}
	}
}

func TestUnknownModel(t *testing.T) {
	_, err := encoders.Lookup("resnet7", 128)
	if err == nil || !strings.Contains(err.Error(), `"resnet7"`) || !strings.Contains(err.Error(), "resnet50v1") {
		t.Fatalf("got %v", err)
	}
}

// A registered model is found by name with its default of the probe's layer; a name cannot be taken twice.
func TestRegister(t *testing.T) {
	encoders.Register("own18", func(out int) encoders.Model {
		return encoders.Model{Net: encoders.ResNet{Blocks: [4]int{1, 1, 1, 1}, Width: 1, Out: out}}
	})
	m, err := encoders.Lookup("own18", 32)
	if err != nil || m.Name != "own18" || m.ProbeLayer != 6 || m.Net.(encoders.ResNet).Out != 32 || !slices.Contains(encoders.Names(), "own18") {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := encoders.Lookup("own18", 0); err == nil {
		t.Error("an embedding of 0 was accepted")
	}
	for _, name := range []string{"", "own18", "alexnet"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was registered", name)
				}
			}()
			encoders.Register(name, func(int) encoders.Model { return encoders.Model{} })
		}()
	}
}

// Initial weights have the spread of the reference's: convolutions of ResNets by their fan-out, everything else uniform by its fan-in,
// batch norms as the identity.
func TestInit(t *testing.T) {
	d, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, c := range []struct {
		model   string
		uniform bool
	}{{"resnet18", false}, {"alexnet", false}, {"alexnet", true}} {
		m, err := encoders.Lookup(c.model, 16)
		if err != nil {
			t.Fatal(err)
		}
		p, err := d.NewParams(m.Net.Tower(3, 32))
		if err != nil {
			t.Fatal(err)
		}
		if err := encoders.Init(p, 1, c.uniform); err != nil {
			t.Fatal(err)
		}
		fanIn := 0
		for _, s := range p.Specs() {
			v := make([]float32, s.Len())
			if err := p.Read(s.Name, v); err != nil {
				t.Fatal(err)
			}
			low, high, square := float64(v[0]), float64(v[0]), 0.0
			for _, x := range v {
				low, high, square = min(low, float64(x)), max(high, float64(x)), square+float64(x)*float64(x)
			}
			rms := math.Sqrt(square / float64(len(v)))
			var want, bound float64 // root mean square, and the largest value; 0 is any
			switch {
			case s.Role == ops.Weight && len(s.Shape) == 4 && c.model != "alexnet":
				want = math.Sqrt(2 / float64(s.Shape[0]*s.Shape[2]*s.Shape[3]))
			case s.Role == ops.Weight:
				fanIn = s.FanIn()
				bound = 1 / math.Sqrt(float64(fanIn))
				want = bound / math.Sqrt(3)
			case s.Role == ops.Bias:
				bound = 1 / math.Sqrt(float64(fanIn))
			case s.Role == ops.Gamma && c.uniform:
				bound, want = 1, 1/math.Sqrt(3)
			case s.Role == ops.Gamma || s.Role == ops.RunningVar:
				if low != 1 || high != 1 {
					t.Errorf("%s: %s is in [%v,%v], want 1", c.model, s.Name, low, high)
				}
			default:
				if low != 0 || high != 0 {
					t.Errorf("%s: %s is in [%v,%v], want 0", c.model, s.Name, low, high)
				}
			}
			if bound > 0 && max(-low, high) > bound*(1+1e-6) {
				t.Errorf("%s: %s is in [%v,%v], beyond ±%v", c.model, s.Name, low, high, bound)
			}
			if tolerance := 4 / math.Sqrt(float64(len(v))); want > 0 && math.Abs(rms-want) > tolerance*want {
				t.Errorf("%s: %s has root mean square %v, want %v", c.model, s.Name, rms, want)
			}
		}
	}
}

// The marks that embeddings and features are read from, and a size that no embedding has.
func TestMarks(t *testing.T) {
	for model, want := range map[string]string{"alexnet": "layer7 layer8", "resnet18": "layer6 layer7", "resnet50v1": "layer6 layer7"} {
		m, err := encoders.Lookup(model, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Features() + " " + m.Embedding(); got != want {
			t.Errorf("%s: %s, want %s", model, got, want)
		}
		if _, err := encoders.Lookup(model, 0); err == nil {
			t.Errorf("%s: an embedding of 0 was accepted", model)
		}
	}
}
