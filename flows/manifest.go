package flows

import (
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/spf13/pflag"

	"github.com/contraflow/contraflow/stages"
)

// Setting is the value of one flag and where it comes from: "command line", "preset NAME", the origin of its default,
// or what set another value than these.
type Setting struct {
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

// Settings lists every flag of a parsed set. preset names the one that set the flags in fromPreset.
func Settings(fs *pflag.FlagSet, method, preset string, fromPreset []string) map[string]Setting {
	given := map[string]bool{}
	for _, n := range fromPreset {
		given[n] = true
	}
	out := map[string]Setting{}
	for _, f := range flagTable() {
		if !f.applies(method) {
			continue
		}
		s := Setting{Value: fs.Lookup(f.name).Value.String(), Origin: "default (" + f.origin + ")"}
		note := fs.Lookup(f.name).Annotations[originNote]
		switch {
		case len(note) > 0:
			s.Origin = note[0]
		case given[f.name]:
			s.Origin = "preset " + preset
		case changed(fs, f.name, f.aliases):
			s.Origin = "command line"
		}
		out[f.name] = s
	}
	return out
}

// changed says whether a flag was given, under any of its names.
func changed(fs *pflag.FlagSet, name string, aliases []string) bool {
	return fs.Changed(name) || slices.ContainsFunc(aliases, fs.Changed)
}

// Manifest is run.json: what a run was told, and what it ran on.
type Manifest struct {
	Version  string             `json:"version"` // of contraflow
	Go       string             `json:"go"`
	OS       string             `json:"os"`
	Cores    int                `json:"cores"`
	Method   string             `json:"method"`
	Device   string             `json:"device"`
	Decoder  string             `json:"decoder"`
	Format   string             `json:"format"` // how the images are stored
	Images   int                `json:"images"`
	Classes  int                `json:"classes"`
	Data     Fingerprint        `json:"data"`
	Command  []string           `json:"command"`
	Start    int                `json:"start_step"` // 0, or where a resumed run went on
	Settings map[string]Setting `json:"settings"`
}

// WriteManifest writes run.json into the run folder, whole or not at all.
func (r *Run) WriteManifest(command []string, settings map[string]Setting) error {
	m := Manifest{Version: Version(), Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(),
		Method: r.o.Method, Device: r.net.device.Name(), Decoder: r.decoder.Name(), Format: stages.Format(r.data), Images: r.data.Len(),
		Classes: len(r.data.Classes()), Data: r.fingerprint, Command: command, Start: r.sampler.Start, Settings: settings}
	return writeJSON(filepath.Join(r.Dir, "run.json"), m)
}

// Version is the module's version and the commit it was built from, as far as the build knows them.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			v += " " + s.Value[:12]
		}
	}
	return v
}
