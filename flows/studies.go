package flows

import (
	"fmt"
	"slices"
	"strings"

	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

// Studies are the names that RunStudy knows.
var Studies = []struct{ Name, About string }{
	{"objectives", "contrastive, predictive (L1, L2) and supervised training of the same encoders"},
	{"views", "2 … M views: what each view's encoder gains from the others"},
	{"losses", "noise-contrastive estimation against softmax"},
	{"mixture", "image mixture against none"},
}

// NewStudy lists the variants of a study.
func NewStudy(name string, o StudyOptions) (*Study, error) {
	var known []string
	for _, s := range Studies {
		known = append(known, s.Name)
	}
	if !slices.Contains(known, name) {
		return nil, fmt.Errorf("there is no study %q: choose one of %s", name, strings.Join(known, ", "))
	}
	base, err := o.base()
	if err != nil {
		return nil, err
	}
	items, err := o.items(base)
	if err != nil {
		return nil, err
	}
	if name != "views" && len(items) > 2 {
		var names []string
		for _, i := range items {
			names = append(names, i.column())
		}
		return nil, fmt.Errorf("study %s takes two views, found %d, %s: leave some out of --views or --view_dirs", name, len(items), strings.Join(names, ", "))
	}
	switch name {
	case "objectives":
		return objectives(base, items), nil
	case "views":
		if len(items) < 3 {
			return nil, fmt.Errorf("study views needs at least three views, found %d: add some with --views or --view_dirs", len(items))
		}
		return viewNumbers(base, items), nil
	case "losses":
		return pairOf("losses", "Does noise-contrastive estimation or softmax cross entropy train the better encoders?", base, items,
			"NCE", "cmc-nce", func(v *Options) { v.Loss.Softmax = false }, "softmax ≥ NCE"), nil
	default: // mixture
		s := pairOf("mixture", "Does image mixture (IM: global and region) improve the encoders?", base, items,
			"softmax + IM", "cmc-im", func(v *Options) { v.Mix.On, v.Mix.Type = true, "IM" }, "IM ≥ none")
		for i := range s.Claims { // here the new one should win
			c := &s.Claims[i]
			c.Left, c.Right = c.Right, c.Left
		}
		return s, nil
	}
}

// item is one view: channels of the colour space, or a folder of files.
type item struct {
	name string
	dir  bool
}

// items are the views of a study in order: those of colour first.
func (o StudyOptions) items(base Options) (out []item, err error) {
	space, err := pixel.LookupSpace(base.Data.View)
	if err != nil {
		return nil, fmt.Errorf("--view: %w", err)
	}
	if _, err := stages.ParseSplit(o.Views, space); err != nil {
		return nil, err
	}
	colours := o.Views
	if colours == "" {
		colours = "0|1,2"
		if space.Name == "Lab" {
			colours = "L|ab"
		}
	}
	for _, c := range strings.Split(colours, "|") {
		out = append(out, item{name: strings.TrimSpace(c)})
	}
	if o.ViewDirs != "" {
		for _, d := range strings.Split(o.ViewDirs, ",") {
			out = append(out, item{name: strings.TrimSpace(d), dir: true})
		}
	}
	if len(out) < 2 {
		return nil, fmt.Errorf("--views %q: a study needs at least two views: separate them by |, or add some with --view_dirs", o.Views)
	}
	return out, nil
}

// column is the name of a view in tables and folders.
func (i item) column() string {
	name, _, _ := strings.Cut(i.name, ":")
	return strings.ReplaceAll(name[strings.LastIndexByte(name, '/')+1:], ",", "")
}

// with are options that see some views.
func with(o Options, items []item) Options {
	var colours, dirs []string
	for _, i := range items {
		if i.dir {
			dirs = append(dirs, i.name)
		} else {
			colours = append(colours, i.name)
		}
	}
	o.Data.Views, o.Data.ViewDirs = strings.Join(colours, "|"), strings.Join(dirs, ",")
	return o
}

// each judges every view alone, and all of them together when joined.
func each(items []item, joined bool) (out []Judged) {
	var names []string
	var all []int
	for v, i := range items {
		out = append(out, Judged{i.column(), []int{v}})
		names, all = append(names, i.column()), append(all, v)
	}
	if joined {
		out = append(out, Judged{strings.Join(names, "+"), all})
	}
	return out
}

func keyOf(prefix string, items []item) string {
	for _, i := range items {
		prefix += "-" + i.column()
	}
	return prefix
}

// objectives compares what the same encoders learn from. Predictive training judges the encoder of its source, the first view.
func objectives(base Options, items []item) *Study {
	s := &Study{Name: "objectives", Question: "What do the same encoders learn from contrast, from prediction, and from labels?"}
	first, both := items[0].column(), items[0].column()+"+"+items[1].column()
	cmc := with(base, items)
	predict, labels := cmc, cmc
	predict.Method, predict.Mix.On, predict.Optim.LR = "predict", false, base.Optim.LR/3
	labels.Method, labels.Mix.On, labels.Optim.LR, labels.Data.Aug = "supervised", false, base.Optim.LR/3, "NULL"
	add := func(key, name string, o Options, items []item, joined bool) {
		s.Variants = append(s.Variants, Variant{Key: keyOf(key, items), Name: name, Options: o, Judged: each(items, joined)})
	}
	add("untrained", "untrained", cmc, items, true)
	s.Variants[0].Untrained = true
	add("settled", "untrained, statistics settled", settled(cmc), items, true)
	add("cmc", "contrastive", cmc, items, true)
	for _, l := range []string{"L1", "L2"} {
		p := predict
		p.Loss.Predict = l
		s.Variants = append(s.Variants, Variant{Key: keyOf("predict-"+l, items), Name: "predictive " + l, Options: p, Judged: each(items[:1], false)})
		s.Claims = append(s.Claims, Claim{Text: fmt.Sprintf("contrastive > predictive %s, encoder of %s", l, first), Left: "contrastive", LeftColumn: first, Right: "predictive " + l, RightColumn: first})
	}
	add("supervised", "supervised", labels, items, true)
	for _, u := range s.Variants[:2] {
		s.Claims = append(s.Claims, Claim{Text: fmt.Sprintf("contrastive ≥ %s, %s", u.Name, both), Left: "contrastive", LeftColumn: both, Right: u.Name, RightColumn: both})
	}
	s.Claims = append(s.Claims,
		Claim{Text: fmt.Sprintf("contrastive within %.2f of supervised, %s", supervisedMargin, both), Left: "contrastive", LeftColumn: both, Right: "supervised", RightColumn: both, Margin: supervisedMargin})
	return s
}

// settled are options that leave every parameter as it was drawn: training only moves the running statistics of batch norm,
// which a drawn network has at 0 and 1. It is what a trained network is to be compared with: normalisation alone changes much.
func settled(o Options) Options {
	o.Optim.LR, o.Optim.Epochs, o.Mix.On = 1e-12, min(8, o.Optim.Epochs), false
	return o
}

// supervisedMargin is the distance within which contrastive training should come of supervised training.
const supervisedMargin = 0.15

// viewNumbers trains with the first two views, the first three, and so on; and with the first and each later one, so that
// every view has a run of two to compare with.
func viewNumbers(base Options, items []item) *Study {
	s := &Study{Name: "views", Question: "Does the encoder of a view get better when it is contrasted with more views (full graph)?"}
	base.Loss.Graph = "full"
	add := func(views []item) string {
		name := strings.TrimPrefix(keyOf("", views), "-")
		name = fmt.Sprintf("%d: %s", len(views), strings.ReplaceAll(name, "-", ", "))
		s.Variants = append(s.Variants, Variant{Key: keyOf("cmc", views), Name: name, Options: with(base, views), Judged: each(views, false)})
		return name
	}
	s.Variants = []Variant{{Key: keyOf("untrained", items), Name: "untrained", Options: with(base, items), Untrained: true, Judged: each(items, false)}}
	pairs := map[int]string{}
	pairs[0] = add(items[:2])
	pairs[1] = pairs[0]
	for v := 2; v < len(items); v++ {
		pairs[v] = add([]item{items[0], items[v]})
	}
	all := ""
	for m := 3; m <= len(items); m++ {
		all = add(items[:m])
	}
	for v, i := range items {
		s.Claims = append(s.Claims, Claim{Text: fmt.Sprintf("%d views ≥ 2 views, encoder of %s", len(items), i.column()), Left: all, LeftColumn: i.column(), Right: pairs[v], RightColumn: i.column()})
	}
	return s
}

// pairOf compares softmax CMC with a change of it, which softmax is claimed to reach.
func pairOf(name, question string, base Options, items []item, other, key string, change func(o *Options), claim string) *Study {
	s := &Study{Name: name, Question: question}
	plain := with(base, items)
	changed := plain
	change(&changed)
	judged := each(items, true)
	s.Variants = []Variant{{Key: keyOf("cmc", items), Name: "softmax", Options: plain, Judged: judged}, {Key: keyOf(key, items), Name: other, Options: changed, Judged: judged}}
	for _, j := range judged {
		s.Claims = append(s.Claims, Claim{Text: claim + ", " + j.Column, Left: "softmax", LeftColumn: j.Column, Right: other, RightColumn: j.Column})
	}
	return s
}
