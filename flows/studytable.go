package flows

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/contraflow/contraflow/io/report"
)

// Markdown is the table of a study and what became of its claims.
func (r *StudyResult) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n| linear probe top-1, %% |", r.Question)
	for _, c := range r.Columns {
		fmt.Fprintf(&b, " %s |", c)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(r.Columns)) + "\n")
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "| %s |", row.Variant)
		for _, c := range r.Columns {
			v := row.Top1[c]
			if len(v) == 0 {
				b.WriteString(" |")
				continue
			}
			fmt.Fprintf(&b, " %s |", spreadText("%.1f", v))
		}
		b.WriteString("\n")
	}
	k := r.Recipe
	of := "Mean ± standard deviation of seeds "
	if len(k.Seeds) == 1 {
		of = "Seed "
	}
	fmt.Fprintf(&b, "\n%s%s; %d training and %s (%s), %s at %d pixels, %s, layer %d.\n\n",
		of, (*intList)(&k.Seeds), k.Train, counted(k.Val, "validation image"), k.Data, k.Model, k.ImageSize, counted(k.Epochs, "epoch"), k.Layer)
	for _, c := range r.Claims {
		word := "does not hold"
		if c.Holds {
			word = "holds"
		}
		fmt.Fprintf(&b, "- %s: **%s** (difference %s", c.Claim, word, spreadText("%+.1f", c.Differences))
		if n := len(c.Differences); n > 1 {
			fmt.Fprintf(&b, ", in %d of %d seeds", c.Seeds, n)
		}
		b.WriteString(")\n")
	}
	return b.String()
}

// spreadText is the mean of some accuracies in percent, with their deviation where there are several.
func spreadText(format string, v []float64) string {
	mean, deviation := spreadOf(v)
	text := fmt.Sprintf(format, 100*mean)
	if len(v) > 1 {
		text += fmt.Sprintf(" ± %.1f", 100*deviation)
	}
	return text
}

// write keeps the result in a folder.
func (r *StudyResult) write(dir string) error {
	files := map[string]string{r.Study + ".md": r.Markdown()}
	if r.Study == "views" {
		files["views.svg"] = string(r.plot().SVG())
	}
	for name, text := range files {
		if err := ReplaceFile(filepath.Join(dir, name), func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(dir, r.Study+".json"), r)
}

// plot draws each view's accuracy against the number of views. Of several runs with as many, the first that has the view
// counts.
func (r *StudyResult) plot() report.Bars {
	p := report.Bars{Title: "Linear probe of each view's encoder", XLabel: "views contrasted", YLabel: "top-1, %"}
	for _, c := range r.Columns {
		s := report.BarSeries{Name: c}
		for _, row := range r.Rows {
			v := row.Top1[c]
			var m int
			if _, err := fmt.Sscanf(row.Variant, "%d:", &m); err != nil || len(v) == 0 {
				continue
			}
			if n := len(s.Points); n > 0 && s.Points[n-1].X >= float64(m) {
				continue
			}
			mean, deviation := spreadOf(v)
			s.Points = append(s.Points, report.BarPoint{X: float64(m), Y: 100 * mean, Low: 100 * (mean - deviation), High: 100 * (mean + deviation)})
		}
		p.Series = append(p.Series, s)
	}
	return p
}
