package shard

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	m, name, open, err := manifestAt(ctx, where)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return listFolder(where, split)
	}
	return listManifest(m, name, split, open)
}

// Splits names the splits of a place that has a manifest, sorted; other places give none.
func Splits(ctx context.Context, where string) ([]string, error) {
	if Named(where) {
		return nil, nil
	}
	m, _, _, err := manifestAt(ctx, where)
	if m == nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(m.Splits)), nil
}

// listNamed takes a file that is there for what it is, and other names for patterns.
func listNamed(where string) (*listing, error) {
	if _, err := os.Stat(where); err == nil {
		return &listing{sources: []source{file(where)}}, nil
	}
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

// manifestAt reads the manifest of a folder or of an address, and says what it is called and how to open a file beside it. A folder may
// have none.
func manifestAt(ctx context.Context, where string) (m *Manifest, name string, open func(string) source, err error) {
	var text []byte
	if isURL(where) {
		var u *url.URL
		if u, err = url.Parse(where); err != nil {
			return nil, "", nil, err
		}
		at := func(file string) string {
			j := *u
			j.Path, j.RawPath = strings.TrimSuffix(u.Path, "/")+"/"+file, ""
			return j.String()
		}
		if text, err = get(ctx, client(), at(ManifestName), false); err != nil {
			return nil, "", nil, fmt.Errorf("%w: give the folder that contraflow data pack wrote, or name the shards: …/train-{000000..000146}.tar", err)
		}
		name = redact(at(ManifestName))
		open = func(file string) source { return &remote{url: at(file), client: client(), met: true} }
	} else {
		name = filepath.Join(where, ManifestName)
		info, statErr := os.Stat(where)
		if text, err = os.ReadFile(name); statErr != nil || !info.IsDir() || errors.Is(err, os.ErrNotExist) {
			return nil, "", nil, nil
		}
		if err != nil {
			return nil, "", nil, err
		}
		open = func(f string) source { return file(filepath.Join(where, f)) }
	}
	if m, err = parseManifest(text); err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return m, name, open, err
}

func listManifest(m *Manifest, name, split string, open func(string) source) (*listing, error) {
	s, ok := m.Splits[split]
	if !ok {
		return nil, noSplit(fmt.Sprintf("%s has no split %q: it has %s", name, split, strings.Join(slices.Sorted(maps.Keys(m.Splits)), ", ")))
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
