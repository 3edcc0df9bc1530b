package flows

import (
	"fmt"
	"slices"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

// seedOf is the seed of one purpose of a run.
func seedOf(o Options, p stages.Purpose) uint64 {
	return stages.Draw(uint64(o.Run.Seed), 0, 0, p).Uint64()
}

// views says how pictures of a method become what its encoders see.
type views struct {
	space pixel.Space
	split [][]int // nil: the crops of a sample, all channels
	crops int     // a sample
	names []string
	// Views that are not made of colour channels come after those that are.
	beside []Beside
	funcs  []stages.ViewFunc
	// encoded is how many of the views, from the first, have an encoder; the others are only predicted.
	encoded int
}

// viewsOf resolves the colour space and the channel split. Methods with one encoder see RGB crops.
func viewsOf(o Options, m encoders.Model) (views, error) {
	if !m.Multi {
		if o.Data.ViewDirs != "" || len(o.Data.ViewFuncs) > 0 {
			return views{}, fmt.Errorf("--view_dirs: --model %s is one encoder of colour images: choose a model with a tower a view, such as resnet18v1", m.Name)
		}
		space, err := pixel.LookupSpace("RGB")
		crops := 1
		if o.Method == "moco" {
			crops = 2
		}
		return views{space: space, crops: crops, names: []string{"ins"}}, err
	}
	space, err := pixel.LookupSpace(o.Data.View)
	if err != nil {
		return views{}, fmt.Errorf("--view: %w", err)
	}
	if len(o.Data.ViewMean) > 0 || len(o.Data.ViewStd) > 0 {
		if space, err = space.Normalised(o.Data.ViewMean, o.Data.ViewStd); err != nil {
			return views{}, fmt.Errorf("--view_mean, --view_std: %w", err)
		}
	}
	if !space.Known {
		return views{}, fmt.Errorf("--view %s: no mean and deviation are known for it: give --view_mean and --view_std, which contraflow data stats --view %s prints", space.Name, space.Name)
	}
	split, err := stages.ParseSplit(o.Data.Views, space)
	if err != nil {
		return views{}, err
	}
	v := views{space: space, split: split, crops: 1, funcs: o.Data.ViewFuncs}
	for i := range split {
		name := encoders.TowerName(i)
		if i < len(colourNames) {
			name = colourNames[i]
		}
		v.names = append(v.names, name)
	}
	if v.beside, err = besideOf(o); err != nil {
		return views{}, err
	}
	for _, b := range v.beside {
		v.names = append(v.names, b.Name)
	}
	for _, f := range v.funcs {
		v.names = append(v.names, f.Name)
	}
	for i, name := range v.names {
		if slices.Contains(v.names[:i], name) {
			return views{}, fmt.Errorf("two views are named %q: rename one of --view_dirs", name)
		}
	}
	v.encoded = len(v.names)
	if o.Method == "predict" {
		v.encoded = 1
	}
	if o.Method != "supervised" && len(v.names) < 2 {
		return views{}, fmt.Errorf("--views %q: %s needs at least two views: separate them by |, or add some with --view_dirs", o.Data.Views, o.Method)
	}
	return v, nil
}

// colourNames are the reference's names of the first two views.
var colourNames = []string{"l", "ab"}

// channels are the input channels of every encoder.
func (v views) channels() []int {
	if v.split == nil {
		return []int{3}
	}
	return v.widths()[:v.encoded]
}

// widths are the channels of every view.
func (v views) widths() []int {
	var out []int
	for _, s := range v.split {
		out = append(out, len(s))
	}
	for _, b := range v.beside {
		out = append(out, b.Channels)
	}
	for _, f := range v.funcs {
		out = append(out, f.Channels)
	}
	return out
}

// stage is the stage that makes batches of crops.
func (v views) stage(recycle func(*stages.Crops)) *stages.Views {
	return &stages.Views{Space: v.space, Split: v.split, Functions: v.funcs, Recycle: recycle}
}

// network is a model on a device: a tower a view.
type network struct {
	model  encoders.Model
	device ops.Device
	graphs []*ops.Graph
	params []ops.Params
}

// chosen are towers, or all with none.
func (n *network) chosen(towers []int) (out []int) {
	if len(towers) > 0 {
		return towers
	}
	for v := range n.graphs {
		out = append(out, v)
	}
	return out
}

// newNetwork builds the towers of a model and draws their weights.
func newNetwork(o Options, d ops.Device, m encoders.Model, channels []int) (*network, error) {
	return newHeaded(o, d, m, channels, nil)
}

// newHeaded is newNetwork with something on top of every tower, unless head is nil.
func newHeaded(o Options, d ops.Device, m encoders.Model, channels []int, head func(g *ops.Graph) error) (*network, error) {
	n := &network{model: m, device: d}
	for v, c := range channels {
		g := m.Net.Tower(c, o.Data.ImageSize)
		err := g.Err()
		if err == nil && head != nil {
			err = head(g)
		}
		if err != nil {
			return nil, fmt.Errorf("--model %s at --image_size %d: %w", m.Name, o.Data.ImageSize, err)
		}
		p, err := d.NewParams(g)
		if err != nil {
			return nil, err
		}
		if err := initialise(o, p, v); err != nil {
			return nil, err
		}
		n.graphs, n.params = append(n.graphs, g), append(n.params, p)
	}
	return n, nil
}

// initialise draws the weights of tower v.
func initialise(o Options, p ops.Params, v int) error {
	return encoders.Init(p, seedOf(o, stages.PurposeInit)+uint64(v), o.Net.AlexGamma)
}

// modelOf finds the model of a run, with the stem it asks for.
func modelOf(o Options) (encoders.Model, error) {
	m, err := encoders.Lookup(o.Net.Model, o.Net.FeatDim)
	if err != nil {
		return m, fmt.Errorf("--model: %w", err)
	}
	switch o.Net.Stem {
	case "", "imagenet":
	case "small":
		r, ok := m.Net.(encoders.ResNet)
		if !ok {
			return m, fmt.Errorf("--stem small: %s is not a ResNet", m.Name)
		}
		r.SmallStem = true
		m.Net = r
	default:
		return m, fmt.Errorf("--stem %q: choose imagenet or small", o.Net.Stem)
	}
	if multi := o.Method == "cmc" || o.Method == "predict"; multi != m.Multi && o.Method != "supervised" {
		kind := map[bool]string{true: "a tower a view", false: "one encoder of colour images"}
		return m, fmt.Errorf("--model %s is %s, and %s needs %s: contraflow models lists them", m.Name, kind[m.Multi], o.Method, kind[multi])
	}
	return m, nil
}

// newDecode is the loading stage of one half of a data set.
func newDecode(o Options, data stages.Dataset, d *jpeg.Decoder, v views, centre bool) (*stages.Decode, error) {
	rule, ok := stages.CropRules[o.Data.CropRule]
	if !ok {
		return nil, fmt.Errorf("--crop_rule %q: choose torchvision-0.3 or torchvision-0.2", o.Data.CropRule)
	}
	crops := v.crops
	if centre {
		crops = 1
	}
	files, err := besideFiles(v.beside, data)
	if err != nil {
		return nil, err
	}
	return &stages.Decode{
		Data: data, Decoder: d, Seed: uint64(o.Run.Seed), Size: o.Data.ImageSize, CropLow: o.Data.CropLow, Rule: rule,
		Crops: crops, Jitter: o.Data.Aug == "CJ" && v.split == nil, Centre: centre, Budget: o.Data.BadSamples,
		Beside: files, Planes: d,
	}, nil
}

// parameterCount is for messages.
func (n *network) parameterCount() int {
	total := 0
	for _, g := range n.graphs {
		for _, p := range g.Params {
			if p.Role.Trainable() {
				total += p.Len()
			}
		}
	}
	return total
}
