package shard

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"
)

// ManifestName is the file that lists what Writer wrote.
const ManifestName = "shards.json"

// manifestFormat is the value of Format; it ends in the version.
const manifestFormat = "contraflow shards 1"

// Manifest is shards.json.
type Manifest struct {
	Format  string           `json:"format"`
	Classes []string         `json:"classes"`
	Splits  map[string]Split `json:"splits"`
	Options json.RawMessage  `json:"options,omitempty"` // that made the shards
}

// Split lists the shards of one split, in the order of its samples.
type Split struct {
	Samples int     `json:"samples"`
	Shards  []Shard `json:"shards"`
}

// Shard is one file.
type Shard struct {
	File    string `json:"file"`
	Bytes   int64  `json:"bytes"`
	Samples int    `json:"samples"`
	SHA256  string `json:"sha256"`
}

// parseManifest refuses lists that do not add up, and files outside the folder.
func parseManifest(text []byte) (*Manifest, error) {
	m := &Manifest{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("not a manifest of contraflow data pack: %w", err)
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("the format is %q, want %q", m.Format, manifestFormat)
	}
	for name, s := range m.Splits {
		n := 0
		for _, f := range s.Shards {
			if f.File == "" || f.File != path.Base(f.File) || strings.Contains(f.File, "\\") || f.File == ".." || f.File == "." {
				return nil, fmt.Errorf("split %q: %q is not the name of a file", name, f.File)
			}
			if f.Samples < 0 || f.Bytes < 0 {
				return nil, fmt.Errorf("split %q: %s has %d samples in %d bytes", name, f.File, f.Samples, f.Bytes)
			}
			n += f.Samples
		}
		if n != s.Samples {
			return nil, fmt.Errorf("split %q: its shards have %d samples, want %d", name, n, s.Samples)
		}
	}
	return m, nil
}
