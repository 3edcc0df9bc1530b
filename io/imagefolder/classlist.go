package imagefolder

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strings"
)

// imagenet100 are the hundred classes of ImageNet that the CMC authors published as ImageNet-100.
//
//go:embed imagenet100.txt
var imagenet100 string

// ClassList reads a list of class names: "imagenet100", which is built in, or a file with one name a line, where # starts a
// comment and more words after a name are ignored. An empty name is no list.
func ClassList(name string) ([]string, error) {
	text := imagenet100
	switch name {
	case "":
		return nil, nil
	case "imagenet100":
	default:
		raw, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s: there is no such file, and the only list built in is imagenet100", name)
		}
		if err != nil {
			return nil, err
		}
		text = string(raw)
	}
	var out []string
	seen := map[string]int{}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if first := seen[words[0]]; first > 0 {
			return nil, fmt.Errorf("%s: line %d: class %q is on line %d already", name, i+1, words[0], first)
		}
		seen[words[0]] = i + 1
		out = append(out, words[0])
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no class name: want one a line", name)
	}
	return out, nil
}
