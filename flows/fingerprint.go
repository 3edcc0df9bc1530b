package flows

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/contraflow/contraflow/io/checkpoint"
	"github.com/contraflow/contraflow/stages"
)

// metaData is where a checkpoint keeps the Fingerprint of its data.
const metaData = "data"

// Fingerprint tells data sets apart without reading a picture: position is state, so a run can only go on with as many images,
// in the same order. Where they lie, in folders or shards, does not matter.
type Fingerprint struct {
	Images  int    `json:"images"`
	Classes int    `json:"classes"`
	Names   string `json:"names"`   // SHA-256 of names without folders, and labels, in order
	Decoder string `json:"decoder"` // for the record: all give the same pixels
}

func fingerprint(d stages.Dataset, decoder string) Fingerprint {
	h := sha256.New()
	for i := range d.Len() {
		name := d.Name(i)
		name = name[strings.LastIndexAny(name, `/\:`)+1:]
		fmt.Fprintf(h, "%s %d\n", name, d.Label(i))
	}
	return Fingerprint{Images: d.Len(), Classes: len(d.Classes()), Names: hex.EncodeToString(h.Sum(nil)), Decoder: decoder}
}

// otherData says whether a run was trained on other images than those of o. What cannot be read says nothing.
func otherData(dir string, o Options) bool {
	var was Fingerprint
	s, err := ReadState(dir)
	if err == nil {
		err = json.Unmarshal(s.Meta[metaData], &was)
	}
	if err != nil {
		return false
	}
	d, err := openData(o, "train", o.Method == "supervised")
	return err == nil && fingerprint(d, was.Decoder) != was
}

// changes says how the data of a checkpoint differs from f; files that do not say, say nothing.
func (f Fingerprint) changes(s *checkpoint.State) ([]string, error) {
	text, ok := s.Meta[metaData]
	if !ok {
		return nil, nil
	}
	var was Fingerprint
	if err := json.Unmarshal(text, &was); err != nil {
		return nil, fmt.Errorf("%s: %w", metaData, err)
	}
	if line := f.differs(was, ""); line != "" {
		return []string{line}, nil
	}
	return nil, nil
}

// differs says how f differs from what was; "" is not at all. half is named when there are two.
func (f Fingerprint) differs(was Fingerprint, half string) string {
	in, of := "", ""
	if half != "" {
		in, of = " in "+half, " of "+half
	}
	switch {
	case was.Images != f.Images || was.Classes != f.Classes:
		return fmt.Sprintf("--data_folder had %s of %s%s, has %d of %d", counted(was.Images, "image"), counted(was.Classes, "class"), in, f.Images, f.Classes)
	case was.Names != f.Names:
		return fmt.Sprintf("--data_folder has other images%s, or in another order", of)
	}
	return ""
}
