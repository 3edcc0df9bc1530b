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

// A small matrix has room for its labels, and its caption stands below the drawing, which may be narrower.
func TestSmallConfusion(t *testing.T) {
	const wide = "WWWWWWWW"
	svg := string(report.Confusion{Classes: []string{"a", wide}, Counts: [][]int{{1, 0}, {0, 1}}}.SVG())
	drawing, below, _ := strings.Cut(svg, "</svg>")
	if strings.Contains(drawing, "rows: the class") || !strings.Contains(below, "rows: the class") {
		t.Errorf("the caption is in the drawing")
	}
	ends, err := strconv.ParseFloat(regexp.MustCompile(`<text x="([0-9.]+)"[^>]*>` + wide).FindStringSubmatch(drawing)[1], 64)
	if need := 10.9 * float64(len(wide)); err != nil || ends < need { // a W of the page's font has 10.9 pixels
		t.Errorf("the label has %v pixels, needs %v (%v)", ends, need, err)
	}
}
