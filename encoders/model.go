package encoders

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/contraflow/contraflow/ops"
)

// Net builds the graph of one tower for images of [channels,size,size], with marks layer1 … layerN.
type Net interface {
	Tower(channels, size int) *ops.Graph
	Layers() int
	Check() error
}

// Model is a named network and how many views it was made for.
type Model struct {
	Name  string
	Net   Net
	Multi bool // a tower a view (CMC), not one encoder of colour images (MoCo, instance discrimination)
	// ResNet-like models judge layer 6 by default, AlexNet layer 5.
	ProbeLayer int
}

// Embedding is the mark of the unit-length output.
func (m Model) Embedding() string { return "layer" + strconv.Itoa(m.Net.Layers()) }

// Features is the mark whose vector kNN and retrieval compare: the last one before the embedding's head.
func (m Model) Features() string { return "layer" + strconv.Itoa(m.Net.Layers()-1) }

// towerNames are the reference's names of the two towers of CMC; they describe an earlier design and encode the first and
// the second view.
var towerNames = []string{"l_to_ab", "ab_to_l"}

// TowerName is the name of tower v in state dictionaries; towers beyond the second are named for their number.
func TowerName(v int) string {
	if v < len(towerNames) {
		return towerNames[v]
	}
	return "view_" + strconv.Itoa(v)
}

// Prefix is what stands before a tower's parameter names in the reference's files.
func (m Model) Prefix(v int) string {
	if m.Multi {
		return "encoder.module." + TowerName(v) + "."
	}
	return "encoder.module."
}

var cmcName = regexp.MustCompile(`^resnets?(18|34|50|101|152)v([123])$`)
var documented = regexp.MustCompile(`^resnets(18|34|50|101|152)$`)
var rgbName = regexp.MustCompile(`^resnet(18|34|50|101)(x2|x4)?$`)

// Lookup finds a model by the name of the reference's --model flag, or by the spellings of its documentation
// ("resnets50v1", and "resnets50" for the same), or one that [Register] added. out is the dimension of the embedding.
func Lookup(name string, out int) (Model, error) {
	if m, ok := own(name, out); ok {
		return m, m.Net.Check()
	}
	m := Model{Name: name, ProbeLayer: 6}
	if name == "alexnet" {
		m.Net, m.Multi, m.ProbeLayer = AlexNet{Out: out}, true, 5
		return m, m.Net.Check()
	}
	if s := cmcName.FindStringSubmatch(Canonical(name)); s != nil {
		m.Name, m.Multi = Canonical(name), true
		m.Net = resnet(s[1], map[string]float64{"1": 0.5, "2": 1, "3": 2}[s[2]], out)
		return m, m.Net.Check()
	}
	if s := rgbName.FindStringSubmatch(name); s != nil {
		m.Net = resnet(s[1], map[string]float64{"": 1, "x2": 2, "x4": 4}[s[2]], out)
		return m, m.Net.Check()
	}
	return Model{}, fmt.Errorf("there is no model %q: choose one of %s", name, strings.Join(Names(), ", "))
}

// Canonical is the spelling of a model's name that the reference's --model takes, and its folders have.
func Canonical(name string) string {
	if s := cmcName.FindStringSubmatch(name); s != nil {
		return "resnet" + s[1] + "v" + s[2]
	}
	if s := documented.FindStringSubmatch(name); s != nil {
		return "resnet" + s[1] + "v1"
	}
	return name
}

func resnet(depth string, width float64, out int) ResNet {
	n, _ := strconv.Atoi(depth)
	r := depths[n]
	r.Width, r.Out = width, out
	return r
}

// Names lists every model.
func Names() []string {
	out := []string{"alexnet"}
	for _, d := range []string{"18", "34", "50", "101", "152"} {
		for _, v := range []string{"v1", "v2", "v3"} {
			out = append(out, "resnet"+d+v)
		}
	}
	for _, d := range []string{"18", "34", "50", "101"} {
		for _, w := range []string{"", "x2", "x4"} {
			out = append(out, "resnet"+d+w)
		}
	}
	return append(out, ownNames()...)
}
