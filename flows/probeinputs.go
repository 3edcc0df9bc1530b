package flows

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/contraflow/contraflow/io/checkpoint"
)

// metaInputs is what a probe's checkpoint says of its encoder and images.
const metaInputs = "probe_inputs"

// probeInputs are what a probe is about. A run folder's name stays when its encoder is trained anew or further, and a probe of that
// name must not pass off its result as the new one's.
type probeInputs struct {
	Encoder string      `json:"encoder"` // SHA-256 of its tensors
	Train   Fingerprint `json:"train"`
	Val     Fingerprint `json:"val"`
}

func (r *ProbeRun) inputsOf() probeInputs {
	h := sha256.New()
	hashTensors(h, r.encoder)
	decoder := r.encoder.decoder.Name()
	return probeInputs{hex.EncodeToString(h.Sum(nil)), fingerprint(r.halves[0].data, decoder), fingerprint(r.halves[1].data, decoder)}
}

// changes says how the inputs of a checkpoint differ; files that do not say, say nothing.
func (p probeInputs) changes(s *checkpoint.State) (out []string, err error) {
	text, ok := s.Meta[metaInputs]
	if !ok {
		return nil, nil
	}
	var was probeInputs
	if err := json.Unmarshal(text, &was); err != nil {
		return nil, fmt.Errorf("%s: %w", metaInputs, err)
	}
	if was.Encoder != p.Encoder {
		out = append(out, "--model_path has another encoder")
	}
	out = append(out, p.Train.differs(was.Train, "train"), p.Val.differs(was.Val, "val"))
	return slices.DeleteFunc(out, func(line string) bool { return line == "" }), nil
}
