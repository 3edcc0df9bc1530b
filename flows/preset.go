package flows

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/spf13/pflag"
)

//go:embed presets/*.yaml
var presetFiles embed.FS

// Preset is a named set of flags for one method.
type Preset struct {
	Name   string
	About  string       // what it trains, and what its source reports
	Source string       // where the values come from
	Method string       // of the methods
	Flags  []PresetFlag // in the file's order
}

// PresetFlag is one flag of a preset.
type PresetFlag struct {
	Name, Value string
	at          string // file:line:column
}

// PresetNames lists the built-in presets in alphabetical order.
func PresetNames() []string {
	entries, err := presetFiles.ReadDir("presets")
	if err != nil {
		panic(err) // embedded
	}
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	sort.Strings(out)
	return out
}

// LoadPreset finds a built-in preset by its name, or reads a file that ends in .yaml or .yml.
func LoadPreset(name string) (Preset, error) {
	if ext := path.Ext(name); ext == ".yaml" || ext == ".yml" {
		text, err := os.ReadFile(name)
		if err != nil {
			return Preset{}, err
		}
		return parsePreset(name, name, text)
	}
	text, err := presetFiles.ReadFile("presets/" + name + ".yaml")
	if err != nil {
		return Preset{}, fmt.Errorf("there is no preset %q: choose one of %s, or a .yaml file", name, strings.Join(PresetNames(), ", "))
	}
	return parsePreset(name, name+".yaml", text)
}

func parsePreset(name, file string, text []byte) (Preset, error) {
	var doc struct {
		About  string           `yaml:"about"`
		Source string           `yaml:"source"`
		Method string           `yaml:"method"`
		Flags  *ast.MappingNode `yaml:"flags"`
	}
	if err := yaml.UnmarshalWithOptions(text, &doc, yaml.Strict()); err != nil {
		text := oneLine(err)
		if strings.Contains(text, "unknown field") {
			text += ": want about, source, method or flags"
		}
		return Preset{}, fmt.Errorf("%s: %s", file, text)
	}
	if !slices.Contains(methods, doc.Method) {
		return Preset{}, fmt.Errorf("%s: method %q: choose one of %s", file, doc.Method, strings.Join(methods, ", "))
	}
	p := Preset{Name: name, About: doc.About, Source: doc.Source, Method: doc.Method}
	if doc.Flags == nil {
		return p, fmt.Errorf("%s: it has no flags: want flags: and below it a line a flag, such as nce_k: 4096", file)
	}
	known := map[string]bool{}
	for _, f := range flagTable() {
		if f.applies(p.Method) && f.name != "preset" {
			known[f.name] = true
		}
	}
	for _, v := range doc.Flags.Values {
		key, pos := v.Key.String(), v.Key.GetToken().Position
		at := fmt.Sprintf("%s:%d:%d", file, pos.Line, pos.Column)
		if !known[key] {
			return p, fmt.Errorf("%s: train %s has no flag %q", at, p.Method, key)
		}
		p.Flags = append(p.Flags, PresetFlag{Name: key, Value: strings.Trim(v.Value.String(), `"'`), at: at})
	}
	return p, nil
}

// oneLine keeps the first line of a YAML error, which names line and column.
func oneLine(err error) string {
	var syntax yaml.Error
	if errors.As(err, &syntax) {
		pos := syntax.GetToken().Position
		return fmt.Sprintf("line %d, column %d: %s", pos.Line, pos.Column, syntax.GetMessage())
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}

// Apply sets the flags of a preset that the command line did not set, and returns their names.
func (p Preset) Apply(fs *pflag.FlagSet, method string) ([]string, error) {
	if p.Method != method {
		return nil, fmt.Errorf("--preset %s is for train %s, not train %s", p.Name, p.Method, method)
	}
	aliases := map[string][]string{}
	for _, f := range flagTable() {
		aliases[f.name] = f.aliases
	}
	var set []string
	for _, f := range p.Flags {
		if changed(fs, f.Name, aliases[f.Name]) {
			continue
		}
		if err := fs.Set(f.Name, f.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", f.at, FlagError(err))
		}
		set = append(set, f.Name)
	}
	return set, nil
}
