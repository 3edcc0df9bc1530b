package shard

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrNone says that there are no shards at a place.
var ErrNone = errors.New("no tar shards")

// endings of shards; those behind the first are compressed as a whole.
var endings = []string{".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.zstd"}

func isShard(name string) bool {
	return slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(name, e) })
}

func isURL(where string) bool {
	return strings.HasPrefix(where, "http://") || strings.HasPrefix(where, "https://")
}

// Named says whether a place names shards one by one, as a file, with {000..146} or with *, instead of a folder that holds those of
// every split.
func Named(where string) bool {
	if isURL(where) {
		u, err := url.Parse(strings.NewReplacer("{", "", "}", "").Replace(where))
		return err == nil && isShard(u.Path)
	}
	return isShard(where)
}

// Remote says whether a place is behind a server.
func Remote(where string) bool { return isURL(where) }

// expand writes {a..b} and {a,b} out. Leading zeros are kept; at most a million names.
func expand(pattern string) ([]string, error) {
	open := strings.Index(pattern, "{")
	if open < 0 {
		return []string{pattern}, nil
	}
	end := strings.Index(pattern[open:], "}")
	if end < 0 {
		return nil, fmt.Errorf("%s: { without }", pattern)
	}
	inside, rest := pattern[open+1:open+end], pattern[open+end+1:]
	var middle []string
	if from, to, ok := strings.Cut(inside, ".."); ok {
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || a < 0 || b < a || b-a >= 1e6 {
			return nil, fmt.Errorf("%s: {%s} is not a range such as {000000..000146}", pattern, inside)
		}
		for i := a; i <= b; i++ {
			middle = append(middle, fmt.Sprintf("%0*d", len(from), i))
		}
	} else {
		middle = strings.Split(inside, ",")
	}
	tails, err := expand(rest)
	if err != nil {
		return nil, err
	}
	if len(middle)*len(tails) > 1e6 {
		return nil, fmt.Errorf("%s: more than a million shards", pattern)
	}
	var out []string
	for _, m := range middle {
		for _, t := range tails {
			out = append(out, pattern[:open]+m+t)
		}
	}
	return out, nil
}

// listing is what was found at a place: sources, and what the manifest says of each if there is one.
type listing struct {
	sources  []source
	known    []Shard
	manifest *Manifest
}

// list finds the shards of a split. ErrNone means that nothing there looks like shards.
func list(ctx context.Context, where, split string) (*listing, error) {
	if Named(where) {
		return listNamed(where)
	}
	if isURL(where) {
		return listURL(ctx, where, split)
	}
	text, err := os.ReadFile(filepath.Join(where, ManifestName))
	if err == nil {
		return listManifest(text, filepath.Join(where, ManifestName), split, func(name string) source {
			return file(filepath.Join(where, name))
		})
	}
	if info, statErr := os.Stat(where); statErr != nil || !info.IsDir() {
		return nil, ErrNone
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return listFolder(where, split)
}

func listNamed(where string) (*listing, error) {
	names, err := expand(where)
	if err != nil {
		return nil, err
	}
	l := &listing{}
	for _, n := range names {
		if isURL(n) {
			l.sources = append(l.sources, &remote{url: n, client: client()})
			continue
		}
		found := []string{n}
		if strings.ContainsAny(n, "*?[") {
			if found, err = filepath.Glob(n); err != nil {
				return nil, fmt.Errorf("%s: %w", n, err)
			}
			if len(found) == 0 {
				return nil, fmt.Errorf("%s: no file matches", n)
			}
		}
		for _, f := range found {
			l.sources = append(l.sources, file(f))
		}
	}
	return l, nil
}

func listURL(ctx context.Context, where, split string) (*listing, error) {
	u, err := url.Parse(where)
	if err != nil {
		return nil, err
	}
	at := func(name string) string {
		j := *u
		j.Path, j.RawPath = strings.TrimSuffix(u.Path, "/")+"/"+name, ""
		return j.String()
	}
	text, err := get(ctx, client(), at(ManifestName), false)
	if err != nil {
		return nil, fmt.Errorf("%w: give the folder that contraflow data pack wrote, or name the shards: …/train-{000000..000146}.tar", err)
	}
	return listManifest(text, redact(at(ManifestName)), split, func(name string) source {
		return &remote{url: at(name), client: client(), met: true}
	})
}

func listManifest(text []byte, name, split string, open func(string) source) (*listing, error) {
	m, err := parseManifest(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s, ok := m.Splits[split]
	if !ok {
		var have []string
		for n := range m.Splits {
			have = append(have, n)
		}
		slices.Sort(have)
		return nil, noSplit(fmt.Sprintf("%s has no split %q: it has %s", name, split, strings.Join(have, ", ")))
	}
	l := &listing{manifest: m, known: s.Shards}
	for _, f := range s.Shards {
		l.sources = append(l.sources, open(f.File))
	}
	return l, nil
}

// noSplit is the error of a split that a manifest does not have.
type noSplit string

func (n noSplit) Error() string        { return string(n) }
func (n noSplit) Is(target error) bool { return target == os.ErrNotExist }

// aliases are the words that name a split in files of others.
var aliases = map[string][]string{"train": {"train", "training"}, "val": {"val", "validation", "valid", "test"}}

// listFolder takes WHERE/SPLIT/*.tar, or those files of WHERE that have the split's name between punctuation.
func listFolder(where, split string) (*listing, error) {
	words := aliases[split]
	if words == nil {
		words = []string{split}
	}
	for _, w := range words {
		if l := filesOf(filepath.Join(where, w), func(string) bool { return true }); l != nil {
			return l, nil
		}
	}
	for _, w := range words {
		l := filesOf(where, func(name string) bool {
			parts := strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' || r == '.' })
			return slices.Contains(parts, w)
		})
		if l != nil {
			return l, nil
		}
	}
	return nil, ErrNone
}

func filesOf(dir string, want func(string) bool) *listing {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	l := &listing{}
	for _, e := range entries {
		if isShard(e.Name()) && !strings.HasPrefix(e.Name(), ".") && want(e.Name()) {
			l.sources = append(l.sources, file(filepath.Join(dir, e.Name())))
		}
	}
	if len(l.sources) == 0 {
		return nil
	}
	return l
}
