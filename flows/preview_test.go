package flows_test

import (
	"context"
	"image"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/flows"
)

// Every method and mixture can be drawn; mixtures, steps and seeds change the picture, the same flags do not.
func TestPreview(t *testing.T) {
	data := images(t)
	draw := func(method string, step int, change func(*flows.Options)) *image.RGBA {
		t.Helper()
		o := small(t, method, data)
		o.Mix.GProb, o.Mix.RProb, o.Mix.CutoutP, o.Mix.EraseP, o.Mix.MaskSize = 0.7, 0.7, 1, 1, 9
		change(&o)
		img, err := flows.Preview(context.Background(), o, step, 2)
		if err != nil {
			t.Fatal(err)
		}
		return img.(*image.RGBA)
	}
	seen := map[string]string{}
	for name, change := range map[string]func(*flows.Options){
		"plain": func(*flows.Options) {}, "seed": func(o *flows.Options) { o.Run.Seed = 9 },
		"IM":            func(o *flows.Options) { o.Mix.On, o.Mix.Type = true, "IM" },
		"batch":         func(o *flows.Options) { o.Mix.On, o.Mix.Type, o.Mix.Partner = true, "IM", "batch" },
		"global":        func(o *flows.Options) { o.Mix.On, o.Mix.Type = true, "global" },
		"region":        func(o *flows.Options) { o.Mix.On, o.Mix.Type = true, "region" },
		"Cutout":        func(o *flows.Options) { o.Mix.On, o.Mix.Type = true, "Cutout" },
		"RandomErasing": func(o *flows.Options) { o.Mix.On, o.Mix.Type = true, "RandomErasing" },
	} {
		pix := string(draw("cmc", 0, change).Pix)
		if other := seen[pix]; other != "" {
			t.Errorf("%s and %s look the same", name, other)
		}
		seen[pix] = name
		if pix != string(draw("cmc", 0, change).Pix) {
			t.Errorf("%s is drawn differently the second time", name)
		}
	}
	cutout := func(partner string) string {
		return string(draw("cmc", 0, func(o *flows.Options) { o.Mix.On, o.Mix.Type, o.Mix.Partner = true, "Cutout", partner }).Pix)
	}
	if cutout("dataset") != cutout("batch") {
		t.Error("Cutout, which has no partners, tells where they come from")
	}
	if string(draw("moco", 0, func(*flows.Options) {}).Pix) == string(draw("moco", 1, func(*flows.Options) {}).Pix) {
		t.Error("two steps look the same")
	}
	img := draw("moco", 0, func(o *flows.Options) { o.Mix.On, o.Mix.Type = true, "unmix" })
	path := filepath.Join(t.TempDir(), "grid.png")
	if err := flows.WritePNG(path, img); err != nil {
		t.Error(err)
	}
	o := small(t, "cmc", data)
	if _, err := flows.Preview(context.Background(), o, 1000, 2); err == nil || !strings.Contains(err.Error(), "--step 1000") {
		t.Errorf("a step that is not there: %v", err)
	}
}
