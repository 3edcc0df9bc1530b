package stages_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

// listed is a data set of names.
type listed struct {
	classes []string
	labels  []int
}

func (l listed) Len() int          { return len(l.labels) }
func (l listed) Classes() []string { return l.classes }
func (l listed) Label(i int) int   { return l.labels[i] }
func (l listed) Name(i int) string { return fmt.Sprint(l.classes, i) }
func (l listed) Format() string    { return "list" }
func (l listed) Read(_ context.Context, i int, _ []byte) ([]byte, error) {
	return []byte(l.Name(i)), nil
}

func TestConcatAndOnly(t *testing.T) {
	a := listed{[]string{"ant", "bee", "cat"}, []int{0, 2, 1}}
	b := listed{[]string{"bee", "eel"}, []int{1, 0, -1}}
	both := stages.Concat(a, b)
	if stages.Format(both) != "list" || both.Len() != 6 {
		t.Fatalf("%d samples of %q", both.Len(), stages.Format(both))
	}
	check := func(d stages.Dataset, names string, labels ...int) {
		t.Helper()
		var got []string
		for i, want := range labels {
			if d.Label(i) != want {
				t.Errorf("label %d of sample %d, want %d", d.Label(i), i, want)
			}
			raw, err := d.Read(context.Background(), i, nil)
			if err != nil || string(raw) != d.Name(i) {
				t.Errorf("sample %d reads %q and is called %q", i, raw, d.Name(i))
			}
			got = append(got, d.Name(i))
		}
		if strings.Join(got, "; ") != names || d.Len() != len(labels) {
			t.Errorf("samples %q, want %q", strings.Join(got, "; "), names)
		}
	}
	check(both, "[ant bee cat] 0; [ant bee cat] 1; [ant bee cat] 2; [bee eel] 0; [bee eel] 1; [bee eel] 2", 0, 2, 1, -1, 1, -1)
	some, err := stages.Only(both, []string{"cat", "bee"})
	if err != nil {
		t.Fatal(err)
	}
	check(some, "[ant bee cat] 1; [ant bee cat] 2; [bee eel] 1", 1, 0, 0)
	if fmt.Sprint(some.Classes()) != "[bee cat]" || stages.Format(some) != "list" {
		t.Errorf("classes %v", some.Classes())
	}
	if all, err := stages.Only(a, []string{"cat", "ant", "bee"}); err != nil || fmt.Sprint(all) != fmt.Sprint(a) {
		t.Errorf("all classes: %v, %v", all, err)
	}
	if _, err := stages.Only(a, []string{"ant", "dog"}); err == nil || !strings.Contains(err.Error(), `"dog"`) {
		t.Errorf("got %v", err)
	}
}

// counted counts what is read.
type counted struct {
	stages.Dataset
	reads *int
}

func (c counted) Read(ctx context.Context, i int, buf []byte) ([]byte, error) {
	*c.reads++
	return append(buf[:0], "P6\n2 2\n255\nabcdefghijkl"...), nil
}

type ppm struct{}

func (ppm) Decode(dst *pixel.Picture, data []byte) error {
	dst.Reset(2, 2)
	copy(dst.Pix, data[len(data)-12:])
	return nil
}

// Going on at the ten millionth step reads its batch and nothing else, whatever the format.
func TestResumeReadsNothing(t *testing.T) {
	reads := 0
	data := counted{listed{[]string{"a"}, make([]int, 100)}, &reads}
	s := stages.Sampler{N: 100, Batch: 10, Epochs: 1 << 22, Seed: 3, Start: 10_000_003}
	d := &stages.Decode{Data: data, Decoder: ppm{}, Size: 4, CropLow: 0.5, Rule: stages.CropRules["torchvision-0.3"]}
	for p, err := range s.Plans() {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Run(context.Background(), p); err != nil {
			t.Fatal(err)
		}
		if p.Step != 10_000_003 || p.Epoch != 1_000_001 || p.Batch != 3 {
			t.Errorf("the plan is %+v", p)
		}
		break
	}
	if reads != 10 {
		t.Errorf("%d images were read for a batch of 10", reads)
	}
}
