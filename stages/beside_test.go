package stages_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/contraflow/contraflow/ops/pixel"
	"github.com/contraflow/contraflow/stages"
)

// twins is a data set of smooth pictures beside which lies what their first channel holds, but for sample alone.
type twins struct {
	memory
	alone int
}

func (tw twins) Decode(dst *pixel.Picture, data []byte) error {
	dst.Reset(70, 50)
	for i := range dst.Pix {
		dst.Pix[i] = data[0] + byte(i/3%70+i/210)
	}
	return nil
}

func (tw twins) DecodePlanes(dst *pixel.Planes, data []byte) error {
	var p pixel.Picture
	if err := tw.Decode(&p, data); err != nil {
		return err
	}
	dst.Reset(1, 50, 70)
	for i := range dst.Pix {
		dst.Pix[i] = float32(p.Pix[3*i]) / 255
	}
	return nil
}

// besideFiles are the files of twins.
type besideFiles struct{ twins }

func (f besideFiles) Path(i int) string { return fmt.Sprintf("twin:%d", i) }
func (f besideFiles) Read(_ context.Context, i int) ([]byte, error) {
	if i == f.alone {
		return nil, nil
	}
	return []byte{byte(i)}, nil
}

// What lies beside a picture is cut, scaled and mirrored as its crop is, in training and, in the centre, in evaluation. A view that is not
// there is zero.
func TestBesideFollows(t *testing.T) {
	tw := twins{memory{n: 60}, 7}
	for _, centre := range []bool{false, true} {
		d := &stages.Decode{Data: tw, Decoder: tw, Planes: tw, Seed: 5, Size: 32, CropLow: 0.3, Rule: stages.CropRules["torchvision-0.3"], Crops: 1,
			Centre: centre, Budget: 0.5, Beside: []stages.Beside{{Name: "twin", Channels: 1, Top: 1, Files: besideFiles{tw}}}}
		index := []int{3, 7, 20, 41, 11, 59, 30}
		c, err := d.Run(context.Background(), stages.Plan{Epoch: 1, Index: index})
		if err != nil {
			t.Fatal(err)
		}
		const area = 32 * 32
		mirrored := 0
		for s, i := range index {
			pix, view := c.Pictures[s].Pix, c.Beside[0][s*area:][:area]
			if c.Has[0][s] != (i != 7) {
				t.Errorf("sample %d has a twin: %v", i, c.Has[0][s])
			}
			if pix[0] > pix[3*31] { // values rise to the right
				mirrored++
			}
			for p, v := range view {
				want := float64(pix[3*p])/255*2 - 1
				if i == 7 {
					want = 0
				}
				if math.Abs(float64(v)-want) > 0.02 {
					t.Fatalf("centre %v, sample %d, pixel %d: the picture is %v, its twin %v", centre, i, p, want, v)
				}
			}
		}
		if (mirrored > 0) == centre || mirrored == len(index) {
			t.Errorf("centre %v: %d of %d are mirrored", centre, mirrored, len(index))
		}
	}
}
