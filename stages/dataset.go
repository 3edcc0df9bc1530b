package stages

import (
	"context"
	"fmt"
	"slices"
)

// Concat is several data sets as one, in their order. Classes are those of the first; a label of another one is translated
// by its class name, and is -1 when the first does not have that class.
func Concat(parts ...Dataset) Dataset {
	if len(parts) == 1 {
		return parts[0]
	}
	c := &concat{parts: parts}
	number := map[string]int{}
	for i, name := range parts[0].Classes() {
		number[name] = i
	}
	for _, p := range parts {
		c.starts = append(c.starts, c.n)
		c.n += p.Len()
		var labels []int
		for _, name := range p.Classes() {
			l, ok := number[name]
			if !ok {
				l = -1
			}
			labels = append(labels, l)
		}
		c.labels = append(c.labels, labels)
	}
	return c
}

// Format says how a data set is stored, as its Format method tells; empty if it has none.
func Format(d Dataset) string {
	if f, ok := d.(interface{ Format() string }); ok {
		return f.Format()
	}
	return ""
}

type concat struct {
	parts  []Dataset
	starts []int
	labels [][]int // of the concatenation, by part and its own label
	n      int
}

// locate finds the part of sample i, and its index there.
func (c *concat) locate(i int) (part, at int) {
	for part = len(c.starts) - 1; c.starts[part] > i; part-- {
	}
	return part, i - c.starts[part]
}

func (c *concat) Len() int          { return c.n }
func (c *concat) Classes() []string { return c.parts[0].Classes() }
func (c *concat) Format() string    { return Format(c.parts[0]) }

func (c *concat) Label(i int) int {
	part, at := c.locate(i)
	if l := c.parts[part].Label(at); l >= 0 {
		return c.labels[part][l]
	}
	return -1
}

func (c *concat) Name(i int) string {
	part, at := c.locate(i)
	return c.parts[part].Name(at)
}

func (c *concat) Read(ctx context.Context, i int, buf []byte) ([]byte, error) {
	part, at := c.locate(i)
	return c.parts[part].Read(ctx, at, buf)
}

// Only keeps the samples of the named classes, in their order; labels count the classes that are left, sorted by name. Every
// name must be a class.
func Only(d Dataset, names []string) (Dataset, error) {
	all := d.Classes()
	kept := slices.Clone(names)
	slices.Sort(kept)
	if slices.Equal(kept, all) {
		return d, nil
	}
	label := make([]int, len(all))
	for i := range label {
		label[i] = -1
	}
	for i, name := range kept {
		at := slices.Index(all, name)
		if at < 0 {
			return nil, fmt.Errorf("there is no class %q among the %d of the data set", name, len(all))
		}
		label[at] = i
	}
	s := &subset{Dataset: d, classes: kept}
	for i := range d.Len() {
		if l := d.Label(i); l >= 0 && label[l] >= 0 {
			s.index, s.labels = append(s.index, i), append(s.labels, label[l])
		}
	}
	return s, nil
}

type subset struct {
	Dataset
	classes []string
	index   []int
	labels  []int
}

func (s *subset) Len() int          { return len(s.index) }
func (s *subset) Classes() []string { return s.classes }
func (s *subset) Label(i int) int   { return s.labels[i] }
func (s *subset) Name(i int) string { return s.Dataset.Name(s.index[i]) }
func (s *subset) Format() string    { return Format(s.Dataset) }

func (s *subset) Read(ctx context.Context, i int, buf []byte) ([]byte, error) {
	return s.Dataset.Read(ctx, s.index[i], buf)
}
