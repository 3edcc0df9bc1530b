package report_test

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/contraflow/contraflow/io/report"
)

// A series of one point is drawn as a dot: a path through it shows nothing.
func TestChartOfOnePoint(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		points []report.Point
		dots   int
	}{
		"one":           {[]report.Point{{X: 3, Y: 1}}, 1},
		"one is finite": {[]report.Point{{X: 1, Y: nan}, {X: 2, Y: 1}, {X: 3, Y: nan}}, 1},
		"none":          {nil, 0},
		"two":           {[]report.Point{{X: 1, Y: 1}, {X: 2, Y: 2}}, 0},
	} {
		svg := string(report.Chart{Series: []report.Series{{Points: c.points}}}.SVG())
		if got := strings.Count(svg, "<circle"); got != c.dots || strings.Contains(svg, "NaN") {
			t.Errorf("%s: %d dots, want %d", name, got, c.dots)
		}
	}
}

// A series without points keeps its colour free, and is not in the legend.
func TestChartOfAnEmptySeries(t *testing.T) {
	svg := string(report.Chart{Series: []report.Series{{Name: "none"}, {Name: "some", Points: []report.Point{{X: 1, Y: 1}, {X: 2, Y: 2}}}}}.SVG())
	if strings.Contains(svg, "none<") || strings.Contains(svg, "var(--c0)") || strings.Count(svg, "var(--c1)") != 2 {
		t.Error(svg)
	}
}

// A map of more classes than there are colours has no legend that would name a colour twice.
func TestScatterOfManyClasses(t *testing.T) {
	for n, names := range map[int]int{10: 10, 11: 0} {
		s := report.Scatter{Points: make([]report.Point, n), Labels: make([]int, n)}
		for i := range n {
			s.Labels[i], s.Classes = i, append(s.Classes, "class"+strconv.Itoa(i))
		}
		_, legend, _ := strings.Cut(string(s.SVG()), "</svg>")
		if got := strings.Count(legend, "class"+strconv.Itoa(n-1)); got != min(names, 1) || (names == 0) != strings.Contains(legend, "11 classes share 10 colours") {
			t.Errorf("%d classes: legend %s", n, legend)
		}
	}
}

// The legend of bars has room for the longest name.
func TestBarsLegend(t *testing.T) {
	for _, name := range []string{"L", "surface_normals_of_the_left_camera"} {
		svg := report.Bars{Series: []report.BarSeries{{Name: name, Points: []report.BarPoint{{X: 2, Y: 1, Low: 0, High: 2}}}}}.SVG()
		number := func(pattern string) float64 {
			v, _ := strconv.ParseFloat(regexp.MustCompile(pattern).FindStringSubmatch(svg)[1], 64)
			return v
		}
		room := number(` width="([0-9]+)"`) - number(`<text x="([0-9]+)" y="[0-9]+">`+name)
		if need := 7.2 * float64(len(name)); room < need { // what a letter of 13 pixels is wide
			t.Errorf("%s has %v pixels, needs %v", name, room, need)
		}
	}
}

// A small matrix has room for its labels, and its caption stands below the drawing, which may be narrower.
func TestSmallConfusion(t *testing.T) {
	const wide = "WWWWWWWW"
	svg := string(report.Confusion{Classes: []string{"a", wide}, Counts: []map[int]int{{0: 1}, {1: 1}}}.SVG())
	drawing, below, _ := strings.Cut(svg, "</svg>")
	if strings.Contains(drawing, "rows: the class") || !strings.Contains(below, "rows: the class") {
		t.Errorf("the caption is in the drawing")
	}
	ends, err := strconv.ParseFloat(regexp.MustCompile(`<text x="([0-9.]+)"[^>]*>` + wide).FindStringSubmatch(drawing)[1], 64)
	if need := 10.9 * float64(len(wide)); err != nil || ends < need { // a W of the page's font has 10.9 pixels
		t.Errorf("the label has %v pixels, needs %v (%v)", ends, need, err)
	}
}

// A constant that differs in its last bit, as means of a learning rate do, is a constant: its ticks come to an end and can be
// told apart, and a rate has none below zero.
func TestChartOfAConstant(t *testing.T) {
	for name, y := range map[string][]float64{
		"one bit apart": {0.03, 0.030000000000000002, 0.029999999999999995},
		"the same":      {0.03, 0.03},
		"large":         {1e17, 1e17 + 16},
		"zero":          {0, 0},
	} {
		var s report.Series
		for i, v := range y {
			s.Points = append(s.Points, report.Point{X: float64(i), Y: v})
		}
		labels := tickLabels(report.Chart{Series: []report.Series{s}}, "end")
		if len(labels) < 2 || len(labels) > 9 || len(distinct(labels)) != len(labels) {
			t.Errorf("%s: ticks %q", name, labels)
		}
		if y[0] > 0 && strings.HasPrefix(labels[0], "-") {
			t.Errorf("%s: ticks %q below zero", name, labels)
		}
	}
}

// Labels of ticks are different for different ticks and short enough for the room beside the axis; few steps have whole ones.
func TestChartLabels(t *testing.T) {
	chart := func(x0, x1, y0, y1 float64) report.Chart {
		return report.Chart{Series: []report.Series{{Points: []report.Point{{X: x0, Y: y0}, {X: x1, Y: y1}}}}}
	}
	for _, c := range []struct {
		chart  report.Chart
		anchor string
		want   string
	}{
		{chart(0, 2, 0, 1), "middle", "0 1 2"},
		{chart(0, 60000, 0, 1), "middle", "0 10000 20000 30000 40000 50000 60000"},
		{chart(1000000, 1000300, 0, 1), "middle", "1000000 1000050 1000100 1000150 1000200 1000250 1000300"},
		{chart(0, 2, 0.0021, 0.0042), "end", "0.002 0.0025 0.003 0.0035 0.004"},
		{chart(0, 2, 2e8, 9e8), "end", "2e+08 4e+08 6e+08 8e+08"},
		{chart(0, 2, 2e-7, 9e-7), "end", "2e-07 4e-07 6e-07 8e-07"},
	} {
		if got := strings.Join(tickLabels(c.chart, c.anchor), " "); got != c.want {
			t.Errorf("ticks %s, want %s", got, c.want)
		}
	}
}

// tickLabels are the numbers beside an axis: those of the left one end there, those below stand in the middle.
func tickLabels(c report.Chart, anchor string) (out []string) {
	for _, m := range regexp.MustCompile(`text-anchor="`+anchor+`">([^<]+)</text>`).FindAllStringSubmatch(string(c.SVG()), -1) {
		out = append(out, m[1])
	}
	return out
}

func distinct(labels []string) map[string]bool {
	out := map[string]bool{}
	for _, l := range labels {
		out[l] = true
	}
	return out
}
