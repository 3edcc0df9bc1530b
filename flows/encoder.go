package flows

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/contraflow/contraflow/encoders"
	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/io/jpeg"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/pixel"
)

// Encoder is a trained network on a device: what every judge of encoders opens.
type Encoder struct {
	Options     Options // of the run that trained it; what its file does not say has the defaults
	Model       encoders.Model
	Epoch, Step int // epochs and steps done, as far as the file says

	state   *checkpoint.State
	net     *network
	views   views
	towers  []int // that are judged; empty is all
	decoder *jpeg.Decoder
	onBad   func(name string, err error)
}

// Open says how OpenEncoder opens a file. The zero value takes everything from the file.
type Open struct {
	Device    string // as --device
	Threads   int    // as --threads
	Decoder   string // as --decoder
	Model     string // for files of bare tensors: the model, which is otherwise found by names and shapes
	View      string // of CMC: the colour space that the file does not say, otherwise Lab; another than the file's is refused
	Towers    []int  // of CMC: whose features are joined; empty is all
	ImageSize int    // side of the crops, when it is not that of training

	BadSamples *float64                     // as --bad_samples
	OnBad      func(name string, err error) // as Embedder.OnBad, of every half that is opened
}

// Check reports the first setting that makes no sense, without a look at any file.
func (o Open) Check() error {
	if _, err := parseDevice(o.Device); err != nil {
		return err
	}
	if err := CheckCount("threads", o.Threads, "one a core"); err != nil {
		return err
	}
	for i, t := range o.Towers {
		if slices.Contains(o.Towers[:i], t) {
			return fmt.Errorf("--towers %v: tower %d is there twice", (*intList)(&o.Towers), t)
		}
	}
	return nil
}

// OpenEncoder opens the encoder in a run folder, a checkpoint folder, a .pth of the reference or a bare state_dict, a
// .safetensors or an .npz, and puts its weights on a device. A MoCo file gives the query encoder, as the reference takes it.
// Close gives the device back.
func OpenEncoder(path string, with Open) (*Encoder, error) {
	if err := with.Check(); err != nil {
		return nil, err
	}
	state, err := ReadState(path)
	if err != nil {
		return nil, err
	}
	e := &Encoder{state: state, Epoch: state.Epoch, Step: state.Step, onBad: with.OnBad}
	if err := e.open(with); err != nil {
		e.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}

func (e *Encoder) open(with Open) (err error) {
	if e.Options, err = optionsOf(e.state); err != nil {
		if e.Options, err = guessOptions(e.state, with); err != nil {
			return err
		}
	}
	o := &e.Options
	o.Net.Device, o.Net.Threads = with.Device, with.Threads
	if with.Decoder != "" {
		o.Data.Decoder = with.Decoder
	}
	if with.ImageSize > 0 {
		o.Data.ImageSize = with.ImageSize
	}
	if with.BadSamples != nil {
		o.Data.BadSamples = *with.BadSamples
	}
	if e.Model, err = modelOf(*o); err != nil {
		return err
	}
	if with.View != "" && e.Model.Multi && !strings.EqualFold(with.View, o.Data.View) {
		return fmt.Errorf("--view %s: the encoder was trained on %s: leave --view out", with.View, o.Data.View)
	}
	if e.views, err = viewsOf(*o, e.Model); err != nil {
		return err
	}
	e.towers = with.Towers
	for _, t := range e.towers {
		if n := len(e.views.channels()); t < 0 || t >= n {
			return fmt.Errorf("--towers %d: %s has %d, counted from 0", t, e.Model.Name, n)
		}
	}
	if e.decoder, err = jpeg.Open(o.Data.Decoder); err != nil {
		return err
	}
	device, err := openDevice(*o)
	if err != nil {
		return err
	}
	e.net = &network{device: device}
	net, err := newNetwork(*o, device, e.Model, e.views.channels())
	if err != nil {
		return err
	}
	e.net = net
	return e.Load()
}

// Load puts the weights of the file on the device.
func (e *Encoder) Load() error {
	for i, p := range e.net.params {
		if err := readParams(e.state, e.Model.Prefix(i), p, false); err != nil {
			return err
		}
	}
	return nil
}

// Reset puts freshly drawn weights on the device, those that training began with: the baseline of every score.
func (e *Encoder) Reset() error {
	for v, p := range e.net.params {
		if err := initialise(e.Options, p, v); err != nil {
			return err
		}
		if err := resetBuffers(p); err != nil {
			return err
		}
	}
	return nil
}

// resetBuffers makes running statistics those of an untrained network.
func resetBuffers(p ops.Params) error {
	for _, s := range p.Specs() {
		if s.Role.Trainable() {
			continue
		}
		fill := make([]float32, s.Len())
		if s.Role == ops.RunningVar {
			for i := range fill {
				fill[i] = 1
			}
		}
		if err := p.Write(s.Name, fill); err != nil {
			return err
		}
	}
	return nil
}

// Embedder embeds one half of a data set, "train" or "val", by the mark of a layer ("layer5"); empty is the features before the
// embedding's head. Pictures are cut in the evaluation way.
func (e *Encoder) Embedder(folder, half, layer string) (*Embedder, error) {
	o := e.Options
	o.Data.Folder = folder
	data, err := openData(o, half, true)
	if err != nil {
		return nil, err
	}
	decode, err := newDecode(o, data, e.decoder, e.views, true)
	if err != nil {
		return nil, err
	}
	if layer == "" {
		layer = e.Model.Features()
	}
	m, err := newEmbedder(o, e.net, e.views, decode, layer, e.towers)
	if err != nil {
		return nil, err
	}
	m.OnBad, m.sound = e.onBad, true
	return m, nil
}

// Close gives the device back.
func (e *Encoder) Close() error {
	if e.net == nil {
		return nil
	}
	return e.net.device.Close()
}

// guessOptions are for a file that does not say how it was trained: the model with the names and shapes of its tensors.
func guessOptions(s *checkpoint.State, with Open) (Options, error) {
	method := "insdis"
	for i := range s.Tensors {
		if strings.HasPrefix(s.Tensors[i].Name, encoders.Model{Multi: true}.Prefix(0)) {
			method = "cmc"
		}
	}
	of := Defaults(method)
	if with.View != "" && method == "cmc" {
		space, err := pixel.LookupSpace(with.View)
		if err == nil && !space.Known {
			err = fmt.Errorf("no mean and deviation are known for %s, and the file does not have those of its training", space.Name)
		}
		if err != nil {
			return Options{}, fmt.Errorf("--view: %w", err)
		}
		of.Data.View = space.Name
	}
	names := encoders.Names()
	if with.Model != "" {
		names = []string{with.Model}
	}
	var last error
	for _, stem := range []string{"imagenet", "small"} {
		for _, name := range names {
			o := of
			o.Net.Model, o.Net.Stem = name, stem
			if with.ImageSize > 0 {
				o.Data.ImageSize = with.ImageSize
			}
			if err := fitsModel(s, o); err == nil {
				return o, nil
			} else if with.Model != "" && stem == "imagenet" {
				last = err
			}
		}
	}
	if last != nil {
		return Options{}, fmt.Errorf("--model: %w", last)
	}
	return Options{}, errors.New("the file does not say how it was trained, and its tensors are those of no known model: see contraflow models")
}

// fitsModel compares names and shapes.
func fitsModel(s *checkpoint.State, o Options) error {
	m, err := modelOf(o)
	if err != nil {
		return err
	}
	v, err := viewsOf(o, m)
	if err != nil {
		return err
	}
	for i, c := range v.channels() {
		g := m.Net.Tower(c, o.Data.ImageSize)
		if err := g.Err(); err != nil {
			return err
		}
		for _, spec := range g.Params {
			t := s.Tensor(m.Prefix(i) + spec.Name)
			switch {
			case t == nil && spec.Role == ops.Batches:
			case t == nil:
				return fmt.Errorf("the file has no tensor %s, which %s has", m.Prefix(i)+spec.Name, m.Name)
			case shapeText(t.Shape) != shapeText(spec.Shape) && spec.Role != ops.Batches:
				return fmt.Errorf("tensor %s has shape %v, %s wants %v", t.Name, t.Shape, m.Name, spec.Shape)
			}
		}
	}
	return nil
}
